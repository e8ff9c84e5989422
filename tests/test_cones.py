"""Laws of projections on cones. Moreau's decomposition with both memberships says that a map is the projection."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import CONES, blocks, outside, over, smat, solve_scs

from fpa.cones import NonNegative, PositiveSemidefinite, Product, SecondOrder, Zero, matrix_to_svec, svec_to_matrix
from fpa.programs import ConeProgram

_NUM = 128
_MATRICES = {
    "zero": lambda k: np.zeros((k, k)),
    "identity": lambda k: np.eye(k),
    "minus identity": lambda k: -np.eye(k),
    "rank one": lambda k: np.ones((k, k)),
    "two repeated eigenvalues": lambda k: np.ones((k, k)) - 0.5 * np.eye(k),
    "signs": lambda k: np.diag((-1.0) ** np.arange(k)),
    "signs and zeros": lambda k: np.diag(np.arange(k) % 3 - 1.0),
}


class Image(eqx.Module):
    """A batch of points, what becomes of it, and derivatives J d and J' d in a batch of directions d."""

    v: jax.Array
    primal: jax.Array
    dual: jax.Array
    directions: jax.Array
    forward: tuple[jax.Array, jax.Array]
    reverse: tuple[jax.Array, jax.Array]
    average: jax.Array


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(None, 0, 0))
def _image(cone, v, d):
    maps = (cone.project, cone.project_dual)
    (primal, forward), (dual, forward_dual) = (jax.jvp(f, (v,), (d,)) for f in maps)
    reverse = tuple(jax.vjp(f, v)[1](d)[0] for f in maps)
    return Image(v, primal, dual, d, (forward, forward_dual), reverse, cone.average(jnp.exp(d)))


def image(cone, points) -> Image:
    """One compiled function for each cone, so the points are repeated to fill one batch."""
    directions = np.random.default_rng(1).standard_normal((_NUM, cone.dim))
    return jax.device_get(_image(cone, np.resize(points, (_NUM, cone.dim)), directions))


@functools.cache
def at_random(cone) -> Image:
    """Random points of sizes from 1e-2 to 1e2."""
    rng = np.random.default_rng(cone.dim)
    return image(cone, 10 ** rng.uniform(-2, 2, (_NUM, 1)) * rng.standard_normal((_NUM, cone.dim)))


def assert_derivative_is_difference(cone, points):
    here = image(cone, points)
    ahead, behind = (image(cone, here.v + step * here.directions) for step in (1e-6, -1e-6))
    difference = ((ahead.primal - behind.primal) / 2e-6, (ahead.dual - behind.dual) / 2e-6)
    np.testing.assert_allclose(here.forward, difference, rtol=1e-6, atol=1e-7)


def svec(matrix: np.ndarray) -> np.ndarray:
    """The scaled lower triangle, column by column."""
    return (matrix * np.where(np.eye(len(matrix)), 1, np.sqrt(2))).T[np.triu_indices(len(matrix))]


def _corners(cone) -> list[np.ndarray]:
    """Points of one cone where a naive derivative is NaN, or where the projection has a kink."""
    if isinstance(cone, PositiveSemidefinite):
        return [svec(make(cone.order)) for make in _MATRICES.values()]
    if not isinstance(cone, SecondOrder):
        return [np.full(cone.dim, value) for value in (0.0, 1.0, -1.0)]
    axis, side = np.eye(cone.dim)[0], np.eye(cone.dim)[-1] * (cone.dim > 1)
    return [0 * axis, axis, -axis, axis + side, -axis + side, side, 1e-200 * (axis + side), axis - side]


def corners(cone) -> np.ndarray:
    """Points with every block of the cone at one of its corners."""
    parts = [_corners(part) for part, _ in blocks(cone)]
    count = max(len(part) for part in parts)
    return np.stack([np.concatenate([part[(i + j) % len(part)] for j, part in enumerate(parts)]) for i in range(count)])


@over("cone", CONES)
def test_projection_is_idempotent(cone):
    p = at_random(cone)
    np.testing.assert_allclose(image(cone, p.primal).primal, p.primal, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(image(cone, p.dual).dual, p.dual, rtol=1e-12, atol=1e-11)


@over("cone", CONES)
def test_projection_is_firmly_nonexpansive(cone):
    p = at_random(cone)
    moved, apart = p.primal - p.primal[::-1], p.v - p.v[::-1]
    assert np.all(np.sum(moved * moved, axis=1) <= np.sum(moved * apart, axis=1) + 1e-9)


@over("cone", CONES)
def test_moreau_decomposes_every_vector_into_orthogonal_parts(cone):
    p = at_random(cone)
    dual = image(cone, -p.v).dual
    np.testing.assert_allclose(p.primal - dual, p.v, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(np.sum(p.primal * dual, axis=1) / np.sum(p.v**2, axis=1), 0, atol=1e-12)


@over("cone", CONES)
def test_projections_lie_in_the_cone_and_in_its_dual(cone):
    p = at_random(cone)
    for primal, dual, size in zip(p.primal, p.dual, np.linalg.norm(p.v, axis=1), strict=True):
        assert outside(cone, primal) <= 1e-13 * (1 + size)
        assert outside(cone, dual, dual=True) <= 1e-13 * (1 + size)


@over("cone", CONES)
def test_projection_is_positively_homogeneous(cone):
    p = at_random(cone)
    np.testing.assert_allclose(image(cone, 7 * p.v).primal, 7 * p.primal, rtol=1e-10, atol=1e-10)


@over("cone", CONES)
def test_single_precision_stays_single(cone):
    single = jax.ShapeDtypeStruct((cone.dim,), jnp.float32)
    outputs = [jax.eval_shape(f, single) for f in (cone.project, cone.project_dual, cone.average)]
    assert [(out.dtype, out.shape) for out in outputs] == [(jnp.float32, (cone.dim,))] * 3


@over("cone", CONES)
def test_derivative_agrees_with_central_differences_away_from_kinks(cone):
    assert_derivative_is_difference(cone, np.random.default_rng(2).standard_normal((_NUM, cone.dim)))


@over("cone", {name: cone for name, cone in CONES.items() if isinstance(cone, PositiveSemidefinite)})
def test_derivative_at_repeated_nonzero_eigenvalues_agrees_with_central_differences(cone):
    names = ("identity", "minus identity", "two repeated eigenvalues", "signs")
    assert_derivative_is_difference(cone, np.stack([svec(_MATRICES[name](cone.order)) for name in names]))


@over("cone", CONES)
def test_derivative_is_a_generalised_jacobian_even_at_corners(cone):
    """J is finite, symmetric (J d = J'd: both modes agree), and J'J <= J: its eigenvalues lie in [0, 1]."""
    p = image(cone, corners(cone))
    for forward, reverse in zip(p.forward, p.reverse, strict=True):
        assert np.isfinite(forward).all() and np.isfinite(reverse).all()
        np.testing.assert_allclose(forward, reverse, atol=1e-12)
        assert np.all(np.sum(forward**2, axis=1) <= np.sum(forward * p.directions, axis=1) + 1e-12)


@over("cone", CONES)
def test_average_is_the_nearest_scaling_that_keeps_the_cone(cone):
    p = at_random(cone)
    for member, average in zip(p.primal[:20], p.average, strict=False):
        assert outside(cone, average * member) <= 1e-10
        assert outside(cone, member / average) <= 1e-10
    scaling = np.exp(p.directions)
    for part, rows in blocks(cone):
        free = isinstance(part, Zero | NonNegative)
        expected = scaling[:, rows] if free else scaling[:, rows].mean(axis=1, keepdims=True)
        np.testing.assert_allclose(p.average[:, rows], np.broadcast_to(expected, (_NUM, part.dim)), rtol=1e-14)


@over("cone", {name: cone for name, cone in CONES.items() if isinstance(cone, Product)})
def test_product_acts_on_each_part_alone(cone):
    p = at_random(cone)
    for part, rows in blocks(cone):
        alone = image(part, p.v[:, rows])
        np.testing.assert_allclose(p.primal[:, rows], alone.primal, atol=1e-12)
        np.testing.assert_allclose(p.dual[:, rows], alone.dual, atol=1e-12)


def test_equal_cones_of_a_product_are_one_vectorised_projection():
    cones = [Product([SecondOrder(3)] * count) for count in (2, 100)]
    lengths = [len(jax.make_jaxpr(cone.project)(jnp.zeros(cone.dim)).eqns) for cone in cones]
    assert lengths[0] == lengths[1]


def test_empty_product():
    assert Product([]).dim == 0
    assert Product([]).project(jnp.zeros(0)).shape == (0,)


@pytest.mark.parametrize("order", [1, 4])
def test_svec_is_an_isometry_and_stacks_the_lower_triangle_by_columns(order):
    v, w = np.random.default_rng(6).standard_normal((2, order * (order + 1) // 2))
    V, W = jax.jit(jax.vmap(lambda v: svec_to_matrix(v, order)))(np.stack([v, w]))
    np.testing.assert_allclose(V, smat(v, order), rtol=1e-14)
    np.testing.assert_allclose(jax.jit(matrix_to_svec)(V), v, rtol=1e-14)
    np.testing.assert_allclose(np.sum(np.asarray(V) * np.asarray(W)), v @ w, rtol=1e-12)


def test_svec_is_the_convention_of_the_c_solver():
    """min <C, X> over tr X = 1, X psd has the smallest eigenvalue of C as value and its eigenvector as solution."""
    C = np.array([[2.0, -1.0, 0.5], [-1.0, 1.0, 3.0], [0.5, 3.0, -1.0]])
    A, b = np.vstack([svec(np.eye(3)), -np.eye(6)]), np.eye(7)[0]
    program = ConeProgram(A, b, matrix_to_svec(jnp.asarray(C)), Product([Zero(1), PositiveSemidefinite(3)]))
    point, status = solve_scs(program)
    values, vectors = np.linalg.eigh(C)
    assert status == "solved"
    np.testing.assert_allclose(np.asarray(program.c) @ np.asarray(point.x), values[0], rtol=1e-7)
    np.testing.assert_allclose(svec_to_matrix(point.x, 3), np.outer(vectors[:, 0], vectors[:, 0]), atol=1e-6)


@pytest.mark.parametrize("cone", [Zero, NonNegative, SecondOrder, PositiveSemidefinite])
@pytest.mark.parametrize("size", [0, -1])
def test_a_bad_size_is_an_error_that_names_the_cone(cone, size):
    with pytest.raises(ValueError, match=rf"{cone.__name__}: .* must be a positive integer, got {size}"):
        cone(size)


@pytest.mark.parametrize("method", ["project", "project_dual", "average"])
def test_a_product_refuses_a_vector_of_another_length(method):
    with pytest.raises(ValueError, match=r"expected a vector of length 5, got shape \(6,\)"):
        getattr(Product([NonNegative(2), SecondOrder(3)]), method)(jnp.ones(6))
