"""What training minimises: terms for one instance, and their total over a batch."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.maps import SCS, AbstractFixedPointMap
from fpa.programs import AbstractProgram, Point, norm
from fpa.solver import Solver, Status

_FLOOR = 1e-12


class AbstractObjective(eqx.Module):
    """A loss of a solver on a batch of programs."""

    @abstractmethod
    def target(self, program: AbstractProgram) -> Any:
        """What has to be known of an instance besides its data, computed once and without gradient."""

    @abstractmethod
    def terms(self, solver: Solver, program: AbstractProgram, target: Any) -> Float[Array, " terms"]:
        """What one instance adds to the loss, to be differentiated with respect to the solver."""

    @abstractmethod
    def total(self, terms: Float[Array, "batch terms"], weights: Float[Array, " batch"]) -> Float[Array, ""]:
        """The loss of a batch, in which instance i counts weights[i] times."""

    def loss(self, solver: Solver, program: AbstractProgram, target: Any) -> Float[Array, ""]:
        """The loss of one instance."""
        terms = self.terms(solver, program, target)
        return self.total(terms[None], jnp.ones(1, terms.dtype))


def mean(terms: Float[Array, "batch *terms"], weights: Float[Array, " batch"]) -> Float[Array, "*terms"]:
    """The weighted mean over a batch."""
    return jnp.tensordot(weights, terms, axes=1) / jnp.maximum(jnp.sum(weights), 1)


def solved_point(reference: Solver, program: AbstractProgram, tol: float | None, max_steps: int) -> Point:
    """The solution that `reference` finds, or NaN, which training leaves out, where it finds none."""
    solution = reference.solve(program, tol=tol, max_steps=max_steps)
    return jax.tree.map(lambda leaf: jnp.where(solution.status == Status.SOLVED, leaf, jnp.nan), solution.point)


class Unrolled(AbstractObjective):
    """Equation (7): the sum over `num_steps` iterations of the fixed-point residual, differentiated through all.

    The residual is the one at tau = 1, unless `normalized` is off (Appendix D). `relative` divides by R_0, the
    largest of the cold start's first four (tau may vanish in the first); `log` sums logarithms instead, and `pooled`
    the logarithms of the batch's mean, which is what convergence plots show.
    """

    num_steps: int = eqx.field(static=True, default=50)
    normalized: bool = eqx.field(static=True, default=True)
    relative: bool = eqx.field(static=True, default=False)
    log: bool = eqx.field(static=True, default=False)
    pooled: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.num_steps < 1:
            raise ValueError(f"Unrolled: num_steps must be at least 1, got {self.num_steps}.")
        if self.log and self.pooled:
            raise ValueError("Unrolled: log takes each instance's logarithm and pooled the mean's; choose one.")

    def target(self, program):
        return None

    def terms(self, solver, program, target):
        op = solver.splitting.bind(program)
        record = _normalized if self.normalized else _raw
        z, state = solver.accelerator.init(op)
        residuals = solver.run(op, z, state, 0, self.num_steps, record)[2]
        if self.relative:
            residuals = residuals / jax.lax.stop_gradient(self._reference(op, record))
        return jnp.log(residuals + _FLOOR) if self.log else residuals

    def total(self, terms, weights):
        average = mean(terms, weights)
        return jnp.sum(jnp.log(average + _FLOOR) if self.pooled else average)

    def _reference(self, op, record):
        return jnp.max(Solver().run(op, op.initial(), None, 0, 4, record)[2])


class TruncatedWindows(AbstractObjective):
    """Section 5: windows of iterations behind every access, from the model's own iterates.

    `intervals` lists pairs (i, r_i), i = 0 for the initializer. L_i is the sum of the logarithms of the residuals at
    tau = 1 of the r_i iterations that follow the access at i. The iterates up to an access carry no gradient; later
    accesses inside a window are differentiated through. The loss is the sum of L_i.
    """

    intervals: tuple[tuple[int, int], ...] = eqx.field(static=True)

    def __check_init__(self):
        starts = [start for start, _ in self.intervals]
        if not starts or starts != sorted(set(starts)) or starts[0] < 0:
            raise ValueError(f"TruncatedWindows: accesses must be increasing and not negative, got {starts}.")
        for start, length in self.intervals:
            if length < 1:
                raise ValueError(f"TruncatedWindows: the interval after access {start} must be positive, got {length}.")

    def target(self, program):
        return None

    def terms(self, solver, program, target):
        op = solver.splitting.bind(program)
        z, state = solver.accelerator.init(op)
        logs, done = [], 0
        for start, length in self.intervals:
            if start > done:
                z, state, _ = solver.run(op, *_stop(z, state), done, start, _normalized)
                z, state = _stop(z, state)
                done = start
            residuals = solver.run(op, z, state, start, start + length, _normalized)[2]
            logs.append(jnp.log(residuals + _FLOOR))
        return jnp.concatenate(logs)

    def total(self, terms, weights):
        return jnp.sum(mean(terms, weights))


class Regression(AbstractObjective):
    """Distance to the solution right after the initializer and after every access at one of the boundaries.

    The distance is ||weights (w - w*)|| in the map's coordinates (x, y, s) / tau. With `log` its logarithms are summed,
    so that early and late accesses count alike. Every stage starts from the iterates that the earlier ones produce,
    which carry no gradient. Solutions come from `reference`, to the tolerance `tol` (see `Solver.solve`). For
    accelerators without boundaries, as `Recurrent`, the initializer alone has a gradient.
    """

    reference: Solver = Solver(SCS(zero_scale=1000.0))
    weights: Float[Array, " w"] | float = 1.0
    tol: float | None = eqx.field(static=True, default=None)
    max_steps: int = eqx.field(static=True, default=5000)
    log: bool = eqx.field(static=True, default=True)

    def target(self, program):
        return solved_point(self.reference, program, self.tol, self.max_steps)

    def terms(self, solver, program, target: Point):
        op = solver.splitting.bind(program)
        z, state = solver.accelerator.init(op)
        distances, done = [self.distance(op, z, target)], 0
        for stage in solver.accelerator.boundaries:
            z, state, _ = solver.run(op, *_stop(z, state), done, stage, _normalized, crossed=True)
            z, state = solver.accelerator.cross(op, *_stop(z, state), stage)
            distances.append(self.distance(op, z, target))
            done = stage
        return jnp.log(jnp.stack(distances)) if self.log else jnp.stack(distances)

    def total(self, terms, weights):
        return jnp.sum(mean(terms, weights))

    def distance(self, op: AbstractFixedPointMap, z: Float[Array, " z"], target: Point) -> Float[Array, ""]:
        """How far z is from the solution."""
        solution = op.coordinates(op.lift(target, 1.0))
        return norm(jnp.asarray(self.weights, solution.dtype) * (op.coordinates(z) - solution)) + _FLOOR


class LastAccess(AbstractObjective):
    """Distance to the solution right after the last boundary, from an iterate kept before it (`Pool.starts`).

    A model that grows access by access is trained with it on what `fpa.training.advance` keeps.
    """

    regression: Regression

    def target(self, program):
        return self.regression.target(program)

    def terms(self, solver, program, target):
        point, (z, state) = target
        op = solver.splitting.bind(program)
        z, _ = solver.accelerator.cross(op, z, state, solver.accelerator.boundaries[-1])
        return self.regression.distance(op, z, point)[None]

    def total(self, terms, weights):
        return jnp.sum(mean(terms, weights))


class LastError(AbstractObjective):
    """Squared distance ||x - x*||^2 after `num_steps` iterations, the logarithm of its mean over the batch.

    What a metric is trained for (King et al.): all iterations are differentiated through, with respect to the
    splitting too. Solutions come from `reference`, to the tolerance `tol`.
    """

    num_steps: int = eqx.field(static=True)
    reference: Solver
    tol: float = eqx.field(static=True, default=1e-9)
    max_steps: int = eqx.field(static=True, default=5000)

    def target(self, program):
        return solved_point(self.reference, program, self.tol, self.max_steps).x

    def terms(self, solver, program, target):
        op = solver.splitting.bind(program)
        z, state = solver.accelerator.init(op)
        x = solver.run(op, z, state, 0, self.num_steps, lambda op, z, fz, point: point.x)[2][-1]
        return jnp.sum((x - target) ** 2)[None]

    def total(self, terms, weights):
        return _log_mean(terms, weights)


class LastKKT(AbstractObjective):
    """Squared KKT residuals (primal, dual and gap) after `num_steps` iterations, the logarithm of their mean.

    It needs no solution, and means the same in every metric.
    """

    num_steps: int = eqx.field(static=True)

    def target(self, program):
        return None

    def terms(self, solver, program, target):
        op = solver.splitting.bind(program)
        z, state = solver.accelerator.init(op)
        return jnp.sum(solver.run(op, z, state, 0, self.num_steps, _kkt)[2][-1] ** 2)[None]

    def total(self, terms, weights):
        return _log_mean(terms, weights)


class LastGap(AbstractObjective):
    """Squared fixed-point residual at iteration `num_steps`, the logarithm of its mean: needs no solution.

    A metric can make it small without coming closer to a solution, by weights at the end of their bounds.
    """

    num_steps: int = eqx.field(static=True)

    def target(self, program):
        return None

    def terms(self, solver, program, target):
        op = solver.splitting.bind(program)
        z, state = solver.accelerator.init(op)
        return solver.run(op, z, state, 0, self.num_steps, _raw)[2][-1:] ** 2

    def total(self, terms, weights):
        return _log_mean(terms, weights)


def _log_mean(terms, weights):
    """The logarithm of the mean of squares."""
    return jnp.log(jnp.sum(mean(terms, weights)) + _FLOOR**2)


def _kkt(op, z, fz, point):
    residuals = op.program.residuals(point)
    return jnp.stack([residuals.primal, residuals.dual, residuals.gap])


def _normalized(op, z, fz, point):
    """The residual at tau = 1, and 1 where neither iterate has a point, which is no convergence.

    Where one of them has none the zero point takes its place, so that a model whose iterates lose theirs has a slope.
    NaN stays NaN, for training to leave the instance out.
    """
    some = op.scale(z)[1] | op.scale(fz)[1]
    return op.residual_normalized(z, fz) + jnp.where(some, 0, 1)


def _raw(op, z, fz, point):
    return op.residual(z, fz)


def _stop(z, state):
    return jax.lax.stop_gradient((z, state))
