"""Convergence curves over test instances, and iterations to a tolerance."""

import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsIndex

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from fpa._progress import progress
from fpa.accelerators import AbstractAccelerator
from fpa.distributions import AbstractDistribution, stream
from fpa.programs import AbstractProgram
from fpa.solver import Solver, Trace, full_record

CHUNK = 25
METRICS = ("fixed_point", "fixed_point_normalized", "primal", "dual", "gap", "tau")


class Curves(eqx.Module):
    """Metrics per model, instance and iteration, as NumPy arrays of shape (models, instances, iterations).

    `valid` says where the iterate stood for a point; elsewhere the residuals are those of the zero point. In statistics
    a value that is not a number counts as infinite.
    """

    values: dict[str, np.ndarray]
    valid: np.ndarray

    def records(self) -> list[dict]:
        """One record per metric and iteration: statistics over models and instances."""
        return [
            {"metric": metric, "iteration": k + 1, **_statistics(values[:, :, k], self.valid[:, :, k])}
            for metric, values in self.values.items()
            for k in range(values.shape[2])
        ]

    def mean(self, metric: str) -> Float[np.ndarray, " iterations"]:
        """Mean over models and instances at each iteration."""
        return _numbers(self.values[metric]).mean(axis=(0, 1))

    def geomean(self, metric: str) -> Float[np.ndarray, " iterations"]:
        """Geometric mean over models and instances at each iteration."""
        return np.exp(np.log(_floored(self.values[metric])).mean(axis=(0, 1)))


def _numbers(values: np.ndarray) -> np.ndarray:
    """What is not a number, as after an iteration that diverged, made infinite."""
    return np.where(np.isnan(values), np.inf, values)


def _floored(values: np.ndarray) -> np.ndarray:
    """Exact zeros raised to the smallest normal number, so that logarithms are finite."""
    return np.maximum(_numbers(values), np.finfo(values.dtype).tiny)


def _statistics(values: np.ndarray, valid: np.ndarray) -> dict:
    numbers = _numbers(values)
    q10, median, q90 = _quantiles(numbers, [0.1, 0.5, 0.9])
    return {
        "mean": numbers.mean(),
        "std": numbers.std() if np.isfinite(numbers).all() else np.inf,
        "geomean": np.exp(np.log(_floored(values)).mean()),
        "median": median,
        "q10": q10,
        "q90": q90,
        "num_valid": int(valid.sum()),
        "num_instances": values.shape[1],
        "num_models": values.shape[0],
    }


def _quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles as NumPy's, which says "not a number" next to an infinite value."""
    largest = np.finfo(values.dtype).max
    found = np.quantile(np.minimum(values, largest), levels)
    return np.where(found > largest / 1e9, np.inf, found)


def evaluate(
    solver: Solver,
    distribution: AbstractDistribution,
    key: PRNGKeyArray,
    num_instances: int,
    num_steps: SupportsIndex,
    chunk: int = CHUNK,
    description: str = "evaluate",
    compiler_options: Mapping[str, bool | int | str] | None = None,
) -> Curves:
    """Trace `solver` on `num_instances` instances of `distribution`, `chunk` at a time, with a progress bar.

    The instances depend on `key` and `chunk` alone, so that methods evaluated with the same key see the same ones.
    Numbers in the solver (scalars of the map, say) are traced: solvers that differ only in them are compiled once.
    `compiler_options` are those of `jax.jit`.
    """
    num_steps = operator.index(num_steps)
    for name, value in (("num_instances", num_instances), ("num_steps", num_steps), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"evaluate: {name} must be at least 1, got {value}.")
    count = -(-num_instances // chunk)
    solver = traced(solver)
    batches = stream(distribution, key, count * chunk, chunk)
    compiled = _compiled(frozenset((compiler_options or {}).items()))
    traces = [
        jax.device_get(compiled(solver, distribution, batch, num_steps))
        for batch in progress(batches, total=count, desc=description)
    ]
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[None, :num_instances], *traces)
    return Curves({metric: getattr(joined, metric) for metric in METRICS}, joined.valid)


def traced(solver: Solver) -> Solver:
    """The solver with its floating-point numbers as arrays, so that solvers that differ in them are compiled once."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if eqx.is_inexact_array_like(leaf) else leaf, solver)


def evaluate_models(
    solvers: Sequence[Solver],
    distribution: AbstractDistribution,
    key: PRNGKeyArray,
    num_instances: int,
    num_steps: SupportsIndex,
    chunk: int = CHUNK,
    description: str = "evaluate",
) -> Curves:
    """`evaluate` for several models of one make, on the same instances; they are the first axis of the curves."""
    return join(
        [evaluate(solver, distribution, key, num_instances, num_steps, chunk, description) for solver in solvers]
    )


def join(curves: Sequence[Curves]) -> Curves:
    """Curves of several models on the same instances, one after the other."""
    values = {metric: np.concatenate([one.values[metric] for one in curves]) for metric in curves[0].values}
    return Curves(values, np.concatenate([one.valid for one in curves]))


@functools.cache
def _compiled(options: frozenset[tuple[str, bool | int | str]]) -> Callable[..., Trace]:
    """`_traces` compiled with options of `jax.jit`."""
    return eqx.filter_jit(_traces, compiler_options=dict(options))  # pyright: ignore[reportCallIssue]  (passed to jit)


def _traces(solver: Solver, distribution: AbstractDistribution, batch, num_steps: int) -> Trace:
    return jax.vmap(lambda parameters: _trace(solver, distribution.program(parameters), num_steps))(batch)


def _trace(solver: Solver, program: AbstractProgram, num_steps: int) -> Trace:
    """As `Solver.trace`, without derivative: stretches between boundaries share one loop, which is compiled once."""
    op, accelerator = solver.splitting.bind(program), solver.accelerator
    z, state = accelerator.init(op)

    def record(k, carry):
        z, state, trace = carry
        z_next, state, fz, point = accelerator.step(op, z, state)
        new = full_record(op, z, fz, point)
        return z_next, state, jax.tree.map(lambda whole, entry: whole.at[k].set(entry), trace, new)

    def stretch(crossings, carry, which_from_to):
        (z, state, trace), (which, begin, end) = carry, which_from_to
        z, state = jax.lax.switch(which, crossings, z, state)
        return jax.lax.fori_loop(begin, end, record, (z, state, trace)), None

    entry = jax.eval_shape(lambda z, state: full_record(op, z, *accelerator.step(op, z, state)[2:]), z, state)
    trace = jax.tree.map(lambda one: jnp.zeros((num_steps, *one.shape), one.dtype), entry)
    for group in _alike(op, accelerator, z, state, num_steps):
        crossings, begins, ends = zip(*group, strict=True)
        z, state = crossings[0](z, state)
        places = jnp.arange(len(group)), jnp.array(begins), jnp.array(ends)
        loop = functools.partial(stretch, (_stay, *crossings[1:]))
        (z, state, trace), _ = jax.lax.scan(loop, (z, state, trace), places)
    cold = op.initial()
    return trace.relative_to(op.residual(cold, op(cold)[0]))


def _stay(z, state):
    return z, state


def _alike(op, accelerator: AbstractAccelerator, z, state, num_steps: int) -> list[list[tuple[Callable, int, int]]]:
    """What is crossed before each stretch, its begin and end; in groups in which states have the same structure."""
    begins = sorted({0} | {boundary for boundary in accelerator.boundaries if boundary < num_steps})
    groups, last = [], None
    for begin, end in itertools.pairwise([*begins, num_steps]):
        at = functools.partial(accelerator.cross, op, iteration=begin) if begin in accelerator.boundaries else _stay
        z, state = jax.eval_shape(at, z, state)
        if not eqx.tree_equal((z, state), last):
            groups.append([])
        groups[-1].append((at, begin, end))
        last = z, state
    return groups


def iterations_to(values: Float[np.ndarray, "... iterations"], level: float) -> np.ndarray:
    """The first iteration (from 1) at which each curve is at or below `level`; 0 where it never is."""
    below = np.asarray(values) <= level
    return np.where(below.any(axis=-1), below.argmax(axis=-1) + 1, 0)
