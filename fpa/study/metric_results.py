"""What learned metrics do on test instances: errors, weights, behaviour outside the training distribution, time."""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

import fpa
from fpa.study import metrics, models
from fpa.study.cost import cost
from fpa.study.session import Run

MEASURES = ("error", "primal", "dual", "gap")
_CHUNK = 100


def trained(
    here: Run, variant: str, distribution: fpa.AbstractDistribution, recipe: metrics.Recipe, seed: int
) -> list[fpa.Solver]:
    """Models of a family, kept or trained; `variant` tells their file from others of the run."""

    def train(checkpoint):
        return metrics.train(distribution, recipe, seed, checkpoint)

    config = {"family": fpa.describe(distribution), "seed": seed, "recipe": vars(recipe)}
    solvers, history = models.trained(here, distribution, train, config, "fpa.study.metrics", f"_{variant}")
    first, last = (np.mean(history["losses"][k]) for k in (0, -1))
    print(f"{variant}: {len(solvers)} models, logarithm of the loss {first:.2f} at first, {last:.2f} at last")
    return solvers


def best_scalars(
    here: Run, distribution: fpa.AbstractDistribution, steps: int, seed: int, num_instances: int
) -> dict[str, float]:
    """The tuned constants of a family, kept or found."""
    config = {"family": fpa.describe(distribution), "steps": steps, "seed": seed, "num_instances": num_instances}
    compute = lambda: metrics.tuned(distribution, steps, seed, num_instances)  # noqa: E731
    return models.recorded(here, compute, config, ["fpa.study.metrics"], "_tuned")


class Instances:
    """Test instances of a family, with their solutions; `factor` multiplies the parameters.

    Raises ValueError where the reference does not solve all of them.
    """

    def __init__(self, distribution: fpa.AbstractDistribution, seed: int, num_instances: int, factor: float = 1.0):
        self.distribution = distribution
        batches = fpa.stream(distribution, fpa.role_key(seed, "test"), num_instances, min(num_instances, _CHUNK))
        self.batches = [jax.tree.map(lambda leaf: factor * leaf, batch) for batch in batches]
        self.solutions = [metrics.solutions_of(distribution, batch) for batch in self.batches]
        if any(np.isnan(solution).any() for solution in self.solutions):
            raise ValueError("The reference did not solve all test instances.")

    def curves(self, solvers: Sequence[fpa.Solver], num_steps: int) -> fpa.Curves:
        """Squared error and KKT residuals of solvers of one make, the first axis of the curves."""
        values = [self._values(jax.tree.map(jnp.asarray, solver), num_steps) for solver in solvers]
        stacked = {name: np.stack([one[name] for one in values]) for name in MEASURES}
        return fpa.Curves(stacked, np.ones(stacked["error"].shape, bool))

    def _values(self, solver: fpa.Solver, num_steps: int) -> dict[str, np.ndarray]:
        parts = [
            jax.device_get(metrics.measure(solver, self.distribution, batch, solution, num_steps))
            for batch, solution in zip(self.batches, self.solutions, strict=True)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in MEASURES}

    def weights(self, metric: fpa.AbstractMetric) -> dict[str, np.ndarray]:
        """For every inequality row of every instance: its weight, slack and multiplier at the solution."""
        parts = [jax.device_get(_weights(metric, self.distribution, batch)) for batch in self.batches]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def solved(self, solver: fpa.Solver, tol: float = 1e-6, max_steps: int = 2000) -> dict[str, float]:
        """The share of instances that are solved, and the mean number of iterations, of all instances."""
        ends = [jax.device_get(_solve(solver, self.distribution, batch, tol, max_steps)) for batch in self.batches]
        status, iterations = (np.concatenate([end[k] for end in ends]) for k in (0, 1))
        return {"solved": float((status == fpa.Status.SOLVED).mean()), "iterations": float(iterations.mean())}


def at(error: np.ndarray, iterations: Sequence[int]) -> dict[str, float]:
    """Values of a curve after some iterations, named by them."""
    return {f"at {k}": float(error[k - 1]) for k in iterations}


def separation(weights: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How well the weights tell active inequalities: share of active ones, medians of both, and the AUC."""
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
    family: fpa.AbstractDistribution, metric: fpa.AbstractMetric, reach: float, shown: int = 4, points: int = 41
) -> pd.DataFrame:
    """Weights and activity of the first inequalities over two parameters, within +-`reach`, where the others are 0."""
    axis = np.linspace(-reach, reach, points)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    ((name, shape),) = family.canonical.shapes.items()
    parameters = np.zeros((len(grid), *shape))
    parameters[:, :2] = grid
    found = jax.device_get(_weights(metric, family, {name: jnp.asarray(parameters)}))
    active = found["multiplier"] > found["slack"]
    rows = [
        {"p1": p[0], "p2": p[1], "constraint": i + 1, "weight": found["weight"][k, i], "active": bool(active[k, i])}
        for k, p in enumerate(grid)
        for i in range(shown)
    ]
    return pd.DataFrame(rows)


def costs(
    family: fpa.AbstractDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    seed: int,
    num_steps: int,
    sizes: Sequence[int],
) -> pd.DataFrame:
    """Milliseconds per instance: before the first iteration (`setup`) and for each (`iteration`), from two lengths.

    The oracle is left out: finding its active set is the problem itself.
    """
    timed = {method: several for method, several in methods.items() if method != "DR oracle metric"}
    key = fpa.role_key(seed, "test")
    short, long = (
        cost(family, timed, key, length, sizes).set_index(["method", "batch"])["ms per instance"]
        for length in (1, num_steps)
    )
    each = ((long - short) / (num_steps - 1)).clip(lower=0)
    return pd.DataFrame({"setup": (short - each).clip(lower=0), "iteration": each}).reset_index()


@eqx.filter_jit
def _weights(
    metric: fpa.AbstractMetric, distribution: fpa.AbstractDistribution, parameters: Any
) -> dict[str, jax.Array]:
    def one(parameters):
        program = distribution.program(parameters)
        point = metrics.REFERENCE.solve(program, metrics.TOL, metrics.MAX_STEPS).point
        rows = np.flatnonzero(~program.cone.equalities)
        values = {"weight": metric(program)[1], "slack": point.s, "multiplier": point.y}
        return {name: value[rows] for name, value in values.items()}

    return jax.vmap(one)(parameters)


@eqx.filter_jit
def _solve(solver, distribution, parameters, tol, max_steps):
    def one(parameters):
        solution = solver.solve(distribution.program(parameters), tol, max_steps)
        return solution.status, solution.iterations

    return jax.vmap(one)(parameters)
