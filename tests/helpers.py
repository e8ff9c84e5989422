"""What the laws range over, and independent oracles. A new class joins a registry and inherits the laws.

`from helpers import CONES, over` and then `@over("cone", CONES)` runs a test once for each entry of a registry.
"""

from collections.abc import Iterator
from typing import Any

import clarabel
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import scs

from fpa.accelerators import AbstractAccelerator, AndersonAcceleration, Picard, Safeguarded, Switch
from fpa.cones import AbstractCone, NonNegative, PositiveSemidefinite, Product, SecondOrder, Zero
from fpa.distributions import AbstractConeDistribution, DynamicLasso, FixedLasso, Lasso, RobustKalman
from fpa.maps import SCS, AbstractSplitting, ConstantMetric
from fpa.programs import ConeProgram, Point

CONES: dict[str, AbstractCone] = {
    "zero-1": Zero(1),
    "zero-4": Zero(4),
    "nonneg-1": NonNegative(1),
    "nonneg-2": NonNegative(2),
    "nonneg-5": NonNegative(5),
    "soc-1": SecondOrder(1),
    "soc-2": SecondOrder(2),
    "soc-3": SecondOrder(3),
    "soc-8": SecondOrder(8),
    "psd-1": PositiveSemidefinite(1),
    "psd-2": PositiveSemidefinite(2),
    "psd-3": PositiveSemidefinite(3),
    "psd-4": PositiveSemidefinite(4),
    "product-single": Product([NonNegative(2)]),
    "product-mixed": Product([Zero(4), NonNegative(5), SecondOrder(1), SecondOrder(8), PositiveSemidefinite(3)]),
    "product-contiguous": Product([NonNegative(2), *[SecondOrder(3)] * 5, *[PositiveSemidefinite(2)] * 2]),
    "product-interleaved": Product([*[SecondOrder(3), Zero(1), PositiveSemidefinite(2)] * 2, NonNegative(2)]),
    "product-nested": Product([Product([NonNegative(1), SecondOrder(3)])] * 2),
}

LAYOUTS: dict[str, tuple[Product, int]] = {
    "linear": (Product([NonNegative(12)]), 5),
    "equality": (Product([Zero(3), NonNegative(10)]), 6),
    "cone-of-size-1": (Product([NonNegative(1), SecondOrder(1), PositiveSemidefinite(1)]), 2),
    "cone-of-size-2": (Product([Zero(2), NonNegative(2), SecondOrder(2), SecondOrder(2)]), 4),
    "second-order": (Product([SecondOrder(6), SecondOrder(4)]), 5),
    "many-second-order": (Product([Zero(2), NonNegative(3), *[SecondOrder(3)] * 6]), 9),
    "interleaved": (Product([SecondOrder(3), NonNegative(2), SecondOrder(3), Zero(1), SecondOrder(3)]), 5),
    "semidefinite": (Product([PositiveSemidefinite(4)]), 5),
    "all": (Product([Zero(2), NonNegative(4), SecondOrder(5), PositiveSemidefinite(3), PositiveSemidefinite(3)]), 8),
    "wide": (Product([Zero(2), NonNegative(2), SecondOrder(3)]), 10),
}
"""A cone, in any order, and a number of variables."""

SPLITTINGS: dict[str, AbstractSplitting] = {
    "scs": SCS(),
    "scs-plain": SCS(equilibrate=False),
    "scs-to-the-letter": SCS(relaxation=1.0, rho_x=1.0),
    "scs-scale-3": SCS(scale=3.0),
    "scs-metric": SCS(metric=ConstantMetric(2.0, 0.4)),
}

ACCELERATORS: dict[str, AbstractAccelerator] = {
    "picard": Picard(),
    "anderson-I": AndersonAcceleration(kind="I"),
    "anderson-II": AndersonAcceleration(memory=3, kind="II"),
    "safeguarded": Safeguarded(AndersonAcceleration()),
    "switch": Switch(Picard(), 7, AndersonAcceleration()),
    "safeguarded-switch": Safeguarded(Switch(Switch(Picard(), 3, AndersonAcceleration(memory=2)), 8, Picard())),
}

DISTRIBUTIONS: dict[str, AbstractConeDistribution] = {
    "lasso": Lasso(p=6, q=9),
    "kalman": RobustKalman(num_steps=6),
    "fixed-source": FixedLasso.draw(Lasso(p=5, q=7), jax.random.key(1), "F"),
    "dynamic-lasso": DynamicLasso(jax.random.normal(jax.random.key(2), (5, 3)), steps=3, density=0.4),
}


def over(name: str, registry: dict):
    """Parametrise a test over a registry."""
    return pytest.mark.parametrize(name, registry.values(), ids=registry.keys())


def random_pair(key: jax.Array, layout: tuple[Product, int]) -> tuple[ConeProgram, Point]:
    """A program and its solution, from a complementary pair: s = P_K(v) and y = P_K*(-v) are optimal."""
    cone, n = layout
    m = cone.dim
    flat, x, v = jnp.split(jax.random.normal(key, (m * n + n + m,)), (m * n, m * n + n))
    A = flat.reshape(m, n)
    s, y = cone.project(v), cone.project_dual(-v)
    return ConeProgram(A, A @ x + s, -A.T @ y, cone), Point(x, y, s)


@eqx.filter_jit
def random_program(key: jax.Array, layout: tuple[Product, int]) -> ConeProgram:
    """A feasible and bounded program."""
    return random_pair(key, layout)[0]


@eqx.filter_jit
def random_programs(seed: int, layout: tuple[Product, int], count: int) -> ConeProgram:
    """A batch of `random_program`."""
    return jax.vmap(lambda key: random_program(key, layout))(jax.random.split(jax.random.key(seed), count))


@eqx.filter_jit
def random_pairs(seed: int, layout: tuple[Product, int], count: int) -> tuple[ConeProgram, Point]:
    """A batch of `random_pair`."""
    return jax.vmap(lambda key: random_pair(key, layout))(jax.random.split(jax.random.key(seed), count))


def instance(batch, index: int):
    """One member of a batched module or dictionary."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[index]), batch)


def blocks(cone: AbstractCone, start: int = 0) -> list[tuple[AbstractCone, np.ndarray]]:
    """The elementary cones of a product and the rows each one owns."""
    if not isinstance(cone, Product):
        return [(cone, np.arange(start, start + cone.dim))]
    found = []
    for part in cone.cones:
        found += blocks(part, start)
        start += part.dim
    return found


def _of_kind(cone: AbstractCone, kind: type) -> list[tuple[AbstractCone, np.ndarray]]:
    return [(part, rows) for part, rows in blocks(cone) if isinstance(part, kind)]


def scs_cone(cone: AbstractCone) -> dict:
    """The cone as the C solver SCS wants it, for rows in the order of `scs_rows`."""
    return {
        "z": sum(part.dim for part, _ in _of_kind(cone, Zero)),
        "l": sum(part.dim for part, _ in _of_kind(cone, NonNegative)),
        "q": [part.dim for part, _ in _of_kind(cone, SecondOrder)],
        "s": [part.order for part, _ in _of_kind(cone, PositiveSemidefinite)],
    }


def scs_rows(cone: AbstractCone) -> np.ndarray:
    """The rows in the order of SCS: zero, nonnegative, second-order, semidefinite."""
    kinds = (Zero, NonNegative, SecondOrder, PositiveSemidefinite)
    return np.concatenate([rows for kind in kinds for _, rows in _of_kind(cone, kind)])


def solve_scs(program: ConeProgram, eps: float = 1e-9, **settings) -> tuple[Point, str]:
    """The point and status of the C solver SCS."""
    rows = scs_rows(program.cone)
    A, b, c = np.asarray(program.A)[rows], np.asarray(program.b)[rows], np.asarray(program.c)
    options = {"eps_abs": eps, "eps_rel": eps, "max_iters": 100_000, "verbose": False} | settings
    result = scs.SCS({"A": sp.csc_matrix(A), "b": b, "c": c}, scs_cone(program.cone), **options).solve()
    return Point(*map(jnp.asarray, (result["x"], *_put_back(rows, result["y"], result["s"])))), result["info"]["status"]


def solve_clarabel(program: ConeProgram) -> tuple[Point, str]:
    """The point and status of the C solver Clarabel, to its default accuracy of 1e-8."""
    parts = blocks(program.cone)
    rows = np.concatenate([_clarabel_order(part, rows) for part, rows in parts])
    A, b = sp.csc_matrix(np.asarray(program.A)[rows]), np.asarray(program.b)[rows]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    c, P = np.asarray(program.c), sp.csc_matrix((A.shape[1],) * 2)
    result = clarabel.DefaultSolver(P, c, A, b, [_clarabel_cone(part) for part, _ in parts], settings).solve()
    y, s = _put_back(rows, np.array(result.z), np.array(result.s))
    return Point(jnp.asarray(result.x), jnp.asarray(y), jnp.asarray(s)), str(result.status)


def _put_back(rows: np.ndarray, *vectors: np.ndarray) -> list[np.ndarray]:
    return [vector[np.argsort(rows)] for vector in vectors]


def _clarabel_cone(cone: AbstractCone):
    if isinstance(cone, Zero):
        return clarabel.ZeroConeT(cone.dim)
    if isinstance(cone, PositiveSemidefinite):
        return clarabel.PSDTriangleConeT(cone.order)
    curved = isinstance(cone, SecondOrder) and cone.dim > 1
    return clarabel.SecondOrderConeT(cone.dim) if curved else clarabel.NonnegativeConeT(cone.dim)


def _clarabel_order(cone: AbstractCone, rows: np.ndarray) -> np.ndarray:
    """Clarabel stacks the upper triangle of a matrix column by column, SCS the lower one."""
    if not isinstance(cone, PositiveSemidefinite):
        return rows
    column, row = np.triu_indices(cone.order)
    return rows[np.lexsort((column, row))]


def smat(v: np.ndarray, order: int) -> np.ndarray:
    """The symmetric matrix of a scaled lower triangle, entry by entry."""
    matrix, k = np.zeros((order, order)), 0
    for column in range(order):
        for row in range(column, order):
            matrix[row, column] = matrix[column, row] = v[k] / (1 if row == column else np.sqrt(2))
            k += 1
    return matrix


def outside(cone: AbstractCone, v, dual: bool = False) -> float:
    """By how much a vector misses a cone or its dual, computed without the projections under test."""
    return max((_violation(part, np.asarray(v)[rows], dual) for part, rows in blocks(cone)), default=0.0)


def _violation(cone: AbstractCone, v: np.ndarray, dual: bool) -> float:
    if isinstance(cone, Zero):
        return 0.0 if dual else float(np.abs(v).max())
    if isinstance(cone, NonNegative):
        return float(max(0, -v.min()))
    if isinstance(cone, SecondOrder):
        return float(max(0, np.linalg.norm(v[1:]) - v[0]))
    return float(max(0, -np.linalg.eigvalsh(smat(v, cone.order))[0]))


def projection(cone: AbstractCone, v, dual: bool = False) -> np.ndarray:
    """The projection on a cone or its dual, in NumPy."""
    v, projected = np.asarray(v), np.zeros(cone.dim)
    for part, rows in blocks(cone):
        projected[rows] = _projection(part, v[rows], dual)
    return projected


def _projection(cone: AbstractCone, v: np.ndarray, dual: bool) -> np.ndarray:
    if isinstance(cone, Zero):
        return v if dual else 0 * v
    if isinstance(cone, NonNegative):
        return np.maximum(v, 0)
    if isinstance(cone, SecondOrder):
        length = np.linalg.norm(v[1:])
        if length <= abs(v[0]):
            return v if v[0] > 0 else 0 * v
        return (v[0] + length) / 2 * np.append(1, v[1:] / length)
    values, vectors = np.linalg.eigh(smat(v, cone.order))
    column, row = np.triu_indices(cone.order)
    matrix = (vectors * np.maximum(values, 0)) @ vectors.T
    return matrix[row, column] * np.where(row == column, 1, np.sqrt(2))


def equations(jaxpr, repeats: int = 1) -> Iterator[tuple[Any, int]]:
    """Every equation of a jaxpr, those of inner ones too, and how often scans repeat it."""
    for equation in jaxpr.eqns:
        yield equation, repeats
        inner = repeats * equation.params.get("length", 1) if equation.primitive.name == "scan" else repeats
        for part in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            part = getattr(part, "jaxpr", part)
            if hasattr(part, "eqns"):
                yield from equations(part, inner)


def kkt_error(program: ConeProgram, point: Point) -> dict[str, float]:
    """Each optimality condition's relative violation, in NumPy; all small exactly at a solution."""
    A, b, c = (np.asarray(value) for value in (program.A, program.b, program.c))
    x, y, s = (np.asarray(value) for value in (point.x, point.y, point.s))
    size = np.linalg.norm
    return {
        "primal": size(A @ x + s - b) / (1 + size(b)),
        "dual": size(A.T @ y + c) / (1 + size(c)),
        "gap": abs(c @ x + b @ y) / (1 + abs(c @ x) + abs(b @ y)),
        "slack": outside(program.cone, s) / (1 + size(s)),
        "multiplier": outside(program.cone, y, dual=True) / (1 + size(y)),
        "complementarity": abs(s @ y) / (1 + size(s) * size(y)),
    }
