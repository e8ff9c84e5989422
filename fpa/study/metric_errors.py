"""What learned metrics do on test instances: errors, weights, behaviour outside the training distribution."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import fpa
from fpa.evaluation import traced
from fpa.study import metrics

MEASURES = ("error", "primal", "dual", "gap")
_CHUNK = 100


class Instances:
    """Test instances of a family, with their solutions; `factor` multiplies the parameters.

    Raises ValueError where the reference does not solve all of them.
    """

    def __init__(self, distribution: fpa.AbstractConeDistribution, seed: int, num_instances: int, factor: float = 1.0):
        self.distribution = distribution
        batches = fpa.stream(distribution, fpa.role_key(seed, "test"), num_instances, min(num_instances, _CHUNK))
        self.batches = [jax.tree.map(lambda leaf: factor * leaf, batch) for batch in batches]
        self.solutions = [metrics.solutions_of(distribution, batch) for batch in self.batches]
        unsolved = int(sum(np.isnan(solution.x).any(axis=1).sum() for solution in self.solutions))
        if unsolved:
            family = f"{type(distribution).__name__}, parameters times {factor:g}"
            raise ValueError(f"The reference did not solve {unsolved} of {num_instances} test instances of {family}.")

    def curves(self, solvers: Sequence[fpa.Solver], num_steps: int) -> fpa.Curves:
        """Squared error and KKT residuals of solvers of one make, the first axis of the curves."""
        values = [self._values(traced(solver), num_steps) for solver in solvers]
        stacked = {name: np.stack([one[name] for one in values]) for name in MEASURES}
        return fpa.Curves(stacked, np.ones(stacked["error"].shape, bool))

    def compare(self, methods: Mapping[str, Sequence[fpa.Solver]], num_steps: int) -> dict[str, fpa.Curves]:
        """`curves` of several methods, by their names."""
        return {name: self.curves(several, num_steps) for name, several in methods.items()}

    def _values(self, solver: fpa.Solver, num_steps: int) -> dict[str, np.ndarray]:
        parts = [
            jax.device_get(metrics.measure(solver, self.distribution, batch, solution, num_steps))
            for batch, solution in zip(self.batches, self.solutions, strict=True)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}

    def weights(self, metric: fpa.AbstractMetric) -> dict[str, np.ndarray]:
        """For every inequality row of every instance: its weight, slack and multiplier at the solution."""
        solved = zip(self.batches, self.solutions, strict=True)
        parts = [jax.device_get(_weights(metric, self.distribution, *each)) for each in solved]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def solved(self, solver: fpa.Solver, tol: float = 1e-6, max_steps: int = 20_000) -> dict[str, float]:
        """Of the first instances, a hundred at most: the share that is solved, and the mean number of iterations."""
        status, iterations = jax.device_get(_solve(traced(solver), self.distribution, self.batches[0], tol, max_steps))
        found = {"solved": float((status == fpa.Status.SOLVED).mean()), "iterations": float(iterations.mean())}
        return found | {"instances": len(status)}


def summary(curves: fpa.Curves, iterations: Sequence[int], last: int) -> dict[str, float]:
    """Mean squared errors after some iterations; after `last`, how far off the mean may be, and the median.

    The standard error is that of the mean over instances, each the mean of all models. What is not a number counts as
    infinite.
    """
    error = np.where(np.isnan(curves.values["error"]), np.inf, curves.values["error"])
    spread = error[:, :, last - 1].mean(axis=0).std(ddof=1) / np.sqrt(error.shape[1])
    means = {f"at {k}": float(error[:, :, k - 1].mean()) for k in iterations}
    return means | {f"± at {last}": float(spread), f"median at {last}": float(np.median(error[:, :, last - 1]))}


def separation(weights: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How well the weights tell active inequalities: share of active ones, medians of both, and the AUC."""
    from scipy.stats import mannwhitneyu  # slow to import, and not always asked for

    active = weights["multiplier"] > weights["slack"]
    heavy, light = weights["weight"][active], weights["weight"][~active]
    area = mannwhitneyu(heavy, light).statistic / (len(heavy) * len(light))
    return {
        "active": float(active.mean()),
        "median weight, active": float(np.median(heavy)),
        "median weight, inactive": float(np.median(light)),
        "AUC": float(area),
    }


def planes(
    family: fpa.AbstractConeDistribution, metric: fpa.AbstractMetric, reach: float, shown: int = 4, points: int = 28
) -> pd.DataFrame:
    """Weights and activity of the first inequalities over two parameters, within +-`reach`, where the others are 0."""
    axis = np.linspace(-reach, reach, points)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    ((name, shape),) = family.canonical.shapes.items()
    parameters = np.zeros((len(grid), *shape))
    parameters[:, :2] = grid
    plane = {name: jnp.asarray(parameters)}
    found = jax.device_get(_weights(metric, family, plane, metrics.solutions_of(family, plane)))
    active = found["multiplier"] > found["slack"]
    rows = [
        {"p1": p[0], "p2": p[1], "constraint": i + 1, "weight": found["weight"][k, i], "active": bool(active[k, i])}
        for k, p in enumerate(grid)
        for i in range(shown)
    ]
    return pd.DataFrame(rows)


@eqx.filter_jit
def _weights(
    metric: fpa.AbstractMetric, distribution: fpa.AbstractConeDistribution, parameters: Any, solutions: fpa.Point
) -> dict[str, jax.Array]:
    def one(parameters, point):
        program = distribution.program(parameters)
        rows = np.flatnonzero(~program.cone.equalities)
        values = {"weight": metric(program)[1], "slack": point.s, "multiplier": point.y}
        return {name: value[rows] for name, value in values.items()}

    return jax.vmap(one)(parameters, solutions)


@eqx.filter_jit
def _solve(solver, distribution, parameters, tol, max_steps):
    def one(parameters):
        solution = solver.solve(distribution.program(parameters), tol, max_steps)
        return solution.status, solution.iterations

    return jax.vmap(one)(parameters)
