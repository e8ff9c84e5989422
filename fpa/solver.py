"""A solver is a splitting and an accelerator."""

import enum
import operator
from collections.abc import Callable
from typing import Any, SupportsFloat, SupportsIndex

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fpa.accelerators import AbstractAccelerator, Picard
from fpa.maps import SCS, AbstractFixedPointMap, AbstractSplitting
from fpa.programs import AbstractProgram, Point, Residuals

_CHECK_EVERY = 10


class Status(enum.IntEnum):
    """How `Solver.solve` ended. Kept as data: an int32 array, one entry per instance."""

    SOLVED = 0
    INFEASIBLE = 1
    UNBOUNDED = 2
    INACCURATE = 3
    NONFINITE = 4
    RUNNING = 5


Recorded = Any  # an array of length T, or None where only speed matters


class Trace(eqx.Module):
    """What happened at each map application; entry k belongs to the (k+1)-st.

    `fixed_point` is ||u+ - u||, from `Solver.trace` divided by R_0, the same quantity at the cold start;
    `fixed_point_normalized` is ||(x, y)+/tau+ - (x, y)/tau|| in equilibrated coordinates; `primal`, `dual` and `gap`
    are the relative residuals of the original program; `tau` is the homogeneous scale. Where `valid` is false the
    iterate stands for no point (tau vanishes): the zero point takes its place, with the largest possible gap, 1, and
    `fixed_point_normalized` is 1 there and one iteration later.
    Everything but `fixed_point` is None where only speed matters.
    """

    fixed_point: Float[Array, "*T"]
    fixed_point_normalized: Recorded
    primal: Recorded
    dual: Recorded
    gap: Recorded
    tau: Recorded
    valid: Recorded

    @property
    def worst(self) -> Float[Array, "*T"]:
        """The largest of primal, dual and gap."""
        return jnp.maximum(jnp.maximum(self.primal, self.dual), self.gap)

    def relative_to(self, reference: Float[Array, ""]) -> "Trace":
        """The trace with `fixed_point` divided by `reference`, unless that is 0."""
        return eqx.tree_at(lambda trace: trace.fixed_point, self, self.fixed_point / _nonzero(reference))


def full_record(op: AbstractFixedPointMap, z: Array, fz: Array, point: Point) -> Trace:
    """Everything a `Trace` holds, of one iteration."""
    kkt = op.program.residuals(point)
    tau, valid = op.scale(fz)
    gap = jnp.where(valid, kkt.gap, 1)
    return Trace(op.residual(z, fz), point_residual(op, z, fz), kkt.primal, kkt.dual, gap, tau, valid)


def point_residual(op: AbstractFixedPointMap, z: Array, fz: Array) -> Float[Array, ""]:
    """The residual at tau = 1; 1, the size of a solution, where either iterate has no point. NaN stays NaN."""
    residual = op.residual_normalized(z, fz)
    known = op.scale(z)[1] & op.scale(fz)[1] | jnp.isnan(residual)
    return jnp.where(known, residual, 1)


def short_record(op: AbstractFixedPointMap, z: Array, fz: Array, point: Point) -> Trace:
    """The fixed-point residual alone, where speed matters."""
    return Trace(op.residual(z, fz), None, None, None, None, None, None)


class Solution(eqx.Module):
    """The end of a solve. For an infeasible or unbounded program `point` is the certificate.

    Infeasible: y in K* with A'y = 0 and b'y = -1 (x and s are NaN). Unbounded: x and s in K with Ax + s = 0 and
    c'x = -1 (y is NaN). `residuals` are those of the last point.
    """

    point: Point
    status: Int[Array, ""]
    iterations: Int[Array, ""]
    residuals: Residuals

    def check(self) -> "Solution":
        """This solution, or a RuntimeError that says how many instances were not solved and why."""
        status = np.atleast_1d(np.asarray(self.status))
        failed = [f"{int((status == s).sum())} {s.name.lower()}" for s in Status if s and (status == s).any()]
        if failed:
            raise RuntimeError(f"Of {status.size} instances not all were solved: {', '.join(failed)}.")
        return self


class _Progress(eqx.Module):
    """The carry of `Solver.solve`."""

    z: Array
    state: Any
    solution: Solution


class Solver(eqx.Module):
    """Iterates the map of `splitting` with `accelerator`."""

    splitting: AbstractSplitting = SCS()
    accelerator: AbstractAccelerator = Picard()

    def run(
        self,
        op: AbstractFixedPointMap,
        z: Array,
        state: Any,
        start: int,
        stop: int,
        record: Callable[[AbstractFixedPointMap, Array, Array, Point], Any] = full_record,
        crossed: bool = False,
    ) -> tuple[Array, Any, Any]:
        """Iterations start+1, ..., stop from a kept (z, state), scanned between the accelerator's boundaries.

        A boundary at `start` is crossed first, unless it has been `crossed`, and one at `stop` is left to the next
        call, so that runs in sequence are the unbroken run. `record(op, z, f(z), point)` is what is kept of each
        iteration, stacked; by default a `Trace` whose `fixed_point` is not divided by R_0.
        """
        if not start < stop:
            raise ValueError(f"Solver.run: stop must come after start, got {start} and {stop}.")
        records = []
        for end in _segments(self.accelerator, start, stop):
            z, state = (z, state) if crossed else self._cross(op, z, state, start)
            (z, state), kept = self._scan(op, z, state, end - start, record)
            records.append(kept)
            start, crossed = end, False
        return z, state, jax.tree.map(lambda *parts: jnp.concatenate(parts), *records)

    def trace(
        self, program: AbstractProgram, num_steps: SupportsIndex, start: Point | None = None, residuals: bool = True
    ) -> Trace:
        """`num_steps` iterations on one program, from the accelerator's first iterate or from the point `start`.

        With `residuals=False` only the fixed-point residual is recorded.
        """
        num_steps = operator.index(num_steps)
        if num_steps < 1:
            raise ValueError(f"Solver.trace: num_steps must be at least 1, got {num_steps}.")
        return self._trace(program, num_steps, _like(program, start), residuals)

    @eqx.filter_jit
    def _trace(self, program, num_steps, start, residuals):
        op = self.splitting.bind(program)
        z, state = self.accelerator.init(op, None if start is None else op.lift(start, 1.0))
        _, _, trace = self.run(op, z, state, 0, num_steps, full_record if residuals else short_record)
        cold = op.initial()
        return trace.relative_to(op.residual(cold, op(cold)[0]))

    def solve(
        self,
        program: AbstractProgram,
        tol: SupportsFloat | None = None,
        max_steps: SupportsIndex = 10_000,
        start: Point | None = None,
        certificate_tol: SupportsFloat | None = None,
    ) -> Solution:
        """Iterate until the primal and dual residuals and the gap are at most `tol`; see the program's `residuals`.

        By default `tol` is 1e-6, or what the data's precision resolves: 1.2e-5 in single precision.
        Residuals are looked at every 10 iterations, and once before the first where a warm `start` is given. A
        program is infeasible (unbounded) when a certificate holds to `certificate_tol`, by default 1e-7 or the like.
        Not differentiable in reverse mode; `trace` is. Raises ValueError for what the data's precision cannot resolve.
        """
        max_steps = operator.index(max_steps)
        if max_steps < 0:
            raise ValueError(f"Solver.solve: max_steps must not be negative, got {max_steps}.")
        asked = {"tol": (tol, 1e-6), "certificate_tol": (certificate_tol, 1e-7)}
        tols = tuple(_tolerance(name, *numbers, program.origin.x.dtype) for name, numbers in asked.items())
        return self._solve(program, tols, max_steps, _like(program, start))

    @eqx.filter_jit
    def _solve(self, program, tols, max_steps, start):
        op = self.splitting.bind(program)
        z, state = self.accelerator.init(op, None if start is None else op.lift(start, 1.0))
        progress = _Progress(z, state, _first_solution(program, tols[0], start))
        begin = 0
        for end in _segments(self.accelerator, 0, max_steps):
            z, state = self._cross(op, progress.z, progress.state, begin)
            progress = _Progress(z, state, progress.solution)
            progress = self._advance(op, progress, begin, end, tols)
            begin = end
        last = progress.solution
        status = jnp.where(last.status == Status.RUNNING, jnp.int32(Status.INACCURATE), last.status)
        return Solution(last.point, status, last.iterations, last.residuals)

    def _advance(self, op, progress, begin, end, tols):
        """Iterations begin+1, ..., end of `solve`, judged after each multiple of ten and at the end."""
        first = min(-(-begin // _CHECK_EVERY) * _CHECK_EVERY, end)
        last = max(end // _CHECK_EVERY * _CHECK_EVERY, first)
        for stop, chunk in ((first, first - begin), (last, _CHECK_EVERY), (end, end - last)):
            if begin < stop:
                progress = self._while_running(op, progress, stop, chunk, tols)
            begin = max(begin, stop)
        return progress

    def _cross(self, op, z, state, iteration):
        """Cross the boundary after `iteration` steps, if there is one."""
        if iteration in self.accelerator.boundaries:
            return self.accelerator.cross(op, z, state, iteration)
        return z, state

    def _while_running(self, op, progress, end, chunk, tols):
        def unfinished(p):
            return (p.solution.status == Status.RUNNING) & (p.solution.iterations < end)

        dynamic, static = eqx.partition(progress, eqx.is_array)
        loop = jax.lax.while_loop(
            lambda d: unfinished(eqx.combine(d, static)),
            lambda d: eqx.filter(self._chunk(op, eqx.combine(d, static), chunk, tols), eqx.is_array),
            dynamic,
        )
        return eqx.combine(loop, static)

    def _chunk(self, op, progress, length, tols):
        """`length` iterations, the last one judged; a finished instance stays as it is."""

        def body(carry, _):
            z, state, _, _ = carry
            return self.accelerator.step(op, z, state), None

        carry = (progress.z, progress.state, progress.z, progress.solution.point)
        (z, state, fz, point), _ = jax.lax.scan(body, carry, length=length)
        solution = _judge(op, fz, point, progress.solution.iterations + length, tols)
        running = progress.solution.status == Status.RUNNING
        return jax.tree.map(lambda new, old: jnp.where(running, new, old), _Progress(z, state, solution), progress)

    def _scan(self, op, z, state, length, record):
        def body(carry, _):
            z, state = carry
            z_next, state, fz, point = self.accelerator.step(op, z, state)
            return (z_next, state), record(op, z, fz, point)

        return jax.lax.scan(body, (z, state), length=length)


def _segments(accelerator: AbstractAccelerator, start: int, stop: int) -> list[int]:
    """The ends of the stretches that are scanned in one piece."""
    return sorted({b for b in accelerator.boundaries if start < b < stop} | {stop})


def _tolerance(name: str, asked: SupportsFloat | None, default: float, dtype) -> float:
    smallest = 100 * float(jnp.finfo(dtype).eps)
    tol = max(default, smallest) if asked is None else float(asked)
    if not tol >= smallest:
        raise ValueError(f"Solver.solve: {name}={tol} is below what {dtype} resolves; use at least {smallest:.1e}.")
    return tol


def _like(program: AbstractProgram, start: Point | None) -> Point | None:
    """A start in the precision of the data."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, program.origin.x.dtype), start)


def _nonzero(number: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(number == 0, 1, number)


def _first_solution(program: AbstractProgram, tol: float, start: Point | None) -> Solution:
    """Before the first iteration: solved if `start` lies in the cones and its residuals are small."""
    point = program.origin if start is None else start
    residuals = program.residuals(point)
    solved = (jnp.maximum(residuals.worst, program.outside(point)) <= tol) & (start is not None)
    status = jnp.where(solved, jnp.int32(Status.SOLVED), jnp.int32(Status.RUNNING))
    return Solution(point, status, jnp.zeros((), jnp.int32), residuals)


def _judge(op, fz, point: Point, iterations, tols: tuple[float, float]) -> Solution:
    tol, certificate_tol = tols
    residuals = op.program.residuals(point)
    proof = op.program.certify(op.certificate(fz), certificate_tol)
    cases = [
        (~jnp.all(jnp.isfinite(fz)), Status.NONFINITE),
        (op.scale(fz)[1] & (jnp.maximum(residuals.worst, op.program.outside(point)) <= tol), Status.SOLVED),
        (proof.infeasible, Status.INFEASIBLE),
        (proof.unbounded, Status.UNBOUNDED),
    ]
    status = jnp.select([case for case, _ in cases], [jnp.int32(s) for _, s in cases], jnp.int32(Status.RUNNING))

    def choose(infeasible_by, unbounded_by, reached):
        certificate = jnp.where(status == Status.INFEASIBLE, infeasible_by, unbounded_by)
        return jnp.where((status == Status.INFEASIBLE) | (status == Status.UNBOUNDED), certificate, reached)

    final = jax.tree.map(choose, proof.infeasible_by, proof.unbounded_by, point)
    return Solution(final, status, iterations, residuals)
