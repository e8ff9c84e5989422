"""Structural features of a family of cone programs, which need no training: what might tell whether learning helps.

All of them come from the canonical form and from some two hundred instances that are solved for the purpose.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fpa
from fpa.programs import Point

STEPS, LATE = 20, (50, 100)
_SUPPORT, _CONSTANT, _SMALLEST = 1e-4, 1e-6, 1e-15
_ALPHAS = np.logspace(-3, 5, 17)

# The features, and what they mean in words; all but the shares and the rate are decimal logarithms.
WORDS = {
    "varying": "share of the entries of A, b, c that vary",
    "parameters": "numbers that vary, log10",
    "equalities": "share of rows in zero cones",
    "dimension": "effective dimension of the solutions (PCA), log10",
    "supports": "share of instances with a support of their own",
    "rate": "local linear rate of SCS, per iteration",
    "cold": "fixed-point residual of SCS after 20 iterations, log10",
    "nearest": "what the nearest solved instance leaves unexplained of a solution, log10",
    "ridge": "what a ridge regression leaves unexplained of a solution, log10",
    "warm": "gain at 20 of SCS from that regression, log10",
}


@dataclass(frozen=True)
class Solved:
    """Instances with their solutions: `context` (N, p) is what varies, `points` the solutions."""

    parameters: Any
    context: np.ndarray
    points: Point

    def __getitem__(self, chosen: slice) -> "Solved":
        return jax.tree.map(lambda leaf: leaf[chosen], self)


jax.tree_util.register_dataclass(Solved)


def features(
    distribution: fpa.AbstractConeDistribution,
    key: PRNGKeyArray,
    num_instances: int = 200,
    num_held: int = 50,
    tol: float = 1e-5,
) -> dict[str, float]:
    """The features in `WORDS` by name; warm starts learn from `num_instances` and are tried on `num_held` others."""
    solved = solve(distribution, key, num_instances + num_held, tol)
    seen, held = solved[:num_instances], solved[num_instances:]
    plain = _residuals(distribution, held.parameters, None)
    found = _of_form(distribution.canonical) | _of_solutions(seen) | _of_map(plain)
    nearest, ridge = KNeighborsRegressor(1), RidgeCV(_ALPHAS)
    found["nearest"], _ = _fitted(nearest, seen, held)
    found["ridge"], start = _fitted(ridge, seen, held)
    warm = _residuals(distribution, held.parameters, start)
    found["warm"] = float(np.mean(np.log10(plain[:, STEPS - 1] / warm[:, STEPS - 1])))
    return {name: found[name] for name in WORDS}


def solve(distribution: fpa.AbstractConeDistribution, key: PRNGKeyArray, count: int, tol: float) -> Solved:
    """`count` instances, solved together to `tol` by SCS with safeguarded Anderson acceleration.

    Raises RuntimeError where an instance could not be solved.
    """
    parameters = fpa.sample_batch(distribution, key, count)
    context, solutions = _solve(distribution, parameters, tol)
    return Solved(parameters, np.asarray(context), jax.tree.map(np.asarray, solutions.check().point))


@eqx.filter_jit
def _solve(distribution, parameters, tol):
    solver = fpa.Solver(fpa.SCS(), fpa.Safeguarded(fpa.AndersonAcceleration(memory=10, kind="II")))

    def one(parameters):
        program = distribution.program(parameters)
        return program.context, solver.solve(program, tol=tol)

    return jax.lax.map(one, parameters, batch_size=125)


@eqx.filter_jit
def _residuals(distribution, parameters, start) -> Float[Array, "instances iterations"]:
    """Residuals at tau = 1 of plain SCS, from points, or from the cold start if there are none."""

    def one(parameters, start):
        trace = fpa.Solver().trace(distribution.program(parameters), LATE[1], start=start)
        return jnp.maximum(trace.fixed_point_normalized, _SMALLEST)

    return jax.vmap(one)(parameters, start)


def _fitted(model: Any, seen: Solved, held: Solved) -> tuple[float, Point]:
    """Points for the instances of `held` from a model of those of `seen`, and the share that is left, log10."""
    targets = np.concatenate([seen.points.x, seen.points.y, seen.points.s], axis=1)
    truth = np.concatenate([held.points.x, held.points.y, held.points.s], axis=1)
    center, scale = targets.mean(axis=0), targets.std(axis=0)
    moves = scale > _CONSTANT * (1 + np.abs(targets).max())
    scale = np.where(moves, scale, 1)
    fitted = make_pipeline(StandardScaler(), model).fit(seen.context, (targets - center) / scale)
    answer = center + scale * fitted.predict(held.context)
    errors, spread = (((truth - other) / scale)[:, moves] for other in (answer, center))
    n, m = seen.points.x.shape[1], seen.points.y.shape[1]
    point = jax.vmap(Point)(*map(jnp.asarray, np.split(answer, [n, n + m], axis=1)))
    return float(np.log10((errors**2).sum() / (spread**2).sum())), point


def _of_form(canonical: fpa.Canonical) -> dict[str, float]:
    parts = (canonical.A, canonical.b, canonical.c)
    varying = sum(part.positions.shape[0] for part in parts)
    entries = sum(int(jnp.sum(part.base != 0)) for part in parts) + varying
    numbers = sum(int(np.prod(shape)) for shape in canonical.shapes.values())
    equalities = float(np.mean(canonical.cone.equalities))
    return {"varying": varying / entries, "parameters": np.log10(numbers), "equalities": equalities}


def _of_solutions(seen: Solved) -> dict[str, float]:
    parts = [seen.points.x, seen.points.y, seen.points.s]
    values = np.concatenate(parts, axis=1)
    values = values[:, values.std(axis=0) > _CONSTANT * (1 + np.abs(values).max())]
    spectrum = np.linalg.svd((values - values.mean(axis=0)) / values.std(axis=0), compute_uv=False) ** 2
    supports = np.concatenate([np.abs(p) > _SUPPORT * (1 + np.abs(p).max()) for p in parts], axis=1)
    distinct = len(np.unique(supports, axis=0)) / len(supports)
    return {"dimension": np.log10(spectrum.sum() ** 2 / (spectrum**2).sum()), "supports": distinct}


def _of_map(plain: Array) -> dict[str, float]:
    logs = np.log(np.asarray(plain)).mean(axis=0)
    first, last = LATE
    rate = np.exp((logs[last - 1] - logs[first - 1]) / (last - first))
    return {"rate": float(rate), "cold": float(logs[STEPS - 1] / np.log(10))}
