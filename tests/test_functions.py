"""Laws of smooth functions and of proximal steps, against derivatives by differences and CVXPY."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composites import DIM, PROXIMABLES, SMOOTHS
from helpers import over

from fpa.functions import L1, Box, GroupL2, Simplex, nonnegativity


def draws(seed: int, count: int = 20) -> np.ndarray:
    return 2 * np.random.default_rng(seed).standard_normal((count, DIM))


def steps(seed: int, count: int = 20) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).uniform(-2, 2, (count, DIM)))


@over("smooth", SMOOTHS)
def test_the_gradient_is_that_of_the_value(smooth):
    ours, expected = (jax.jit(jax.vmap(f))(draws(0, 5)) for f in (smooth.gradient, jax.grad(smooth.value)))
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@over("smooth", SMOOTHS)
def test_no_hessian_exceeds_the_lipschitz_constant_and_one_comes_near(smooth):
    points = np.concatenate([0 * draws(1, 1), draws(2)])
    largest = np.linalg.eigvalsh(jax.jit(jax.vmap(jax.hessian(smooth.value)))(points))[:, -1]
    assert max(largest) <= smooth.lipschitz * (1 + 1e-12)
    assert max(largest) > 0.6 * smooth.lipschitz


def as_cvxpy(name: str, u: cp.Variable):
    """The function in CVXPY: its value and its constraints."""
    return {
        "l1": (0.3 * cp.norm1(u), []),
        "nonnegative": (0, [u >= 0]),
        "box": (0, [u >= -0.5, u <= np.linspace(0, 1, DIM)]),
        "simplex": (0, [u >= 0, cp.sum(u) == 2]),
        "group-l2": (0.4 * (cp.norm2(u[:3]) + cp.norm2(u[3:])), []),
        "group-l2-of-one": (0.4 * cp.norm1(u), []),
    }[name]


@pytest.mark.parametrize("name", PROXIMABLES)
def test_a_proximal_step_is_what_cvxpy_finds(name):
    u, v, root = cp.Variable(DIM), cp.Parameter(DIM), cp.Parameter(DIM, nonneg=True)
    value, rows = as_cvxpy(name, u)
    problem = cp.Problem(cp.Minimize(value + cp.sum_squares(cp.multiply(root, u) - v) / 2), rows)
    for point, step in zip(draws(3, 4), steps(4, 4), strict=True):
        root.value = 1 / np.sqrt(step)
        v.value = root.value * point
        problem.solve(cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        ours = PROXIMABLES[name].prox(jnp.asarray(point), jnp.asarray(step))
        np.testing.assert_allclose(ours, u.value, atol=2e-6)


@over("r", PROXIMABLES)
def test_a_proximal_step_is_firmly_nonexpansive_in_its_metric(r):
    prox, p = jax.jit(jax.vmap(r.prox)), steps(7)
    move, moved = draws(5) - draws(6), np.asarray(prox(draws(5), p) - prox(draws(6), p))
    assert np.all((moved**2 / p).sum(axis=1) <= (moved * move / p).sum(axis=1) + 1e-12)


@over("r", PROXIMABLES)
def test_derivatives_of_a_proximal_step_are_differences(r):
    v, p, direction, eps = draws(8, 5), steps(9, 5), draws(10, 5), 1e-6
    prox = jax.jit(jax.vmap(r.prox))
    _, tangent = jax.jvp(prox, (v, p), (direction, 0.1 * direction))
    there, back = (prox(v + e * direction, p + 0.1 * e * direction) for e in (eps, -eps))
    np.testing.assert_allclose(tangent, (there - back) / (2 * eps), atol=1e-5)


@over("r", PROXIMABLES)
def test_derivatives_are_finite_everywhere(r):
    points = np.outer([0, 0.3, 1e30, -1e30], np.ones(DIM))
    gradient = jax.grad(lambda v, p: jnp.sum(r.prox(v, p)), argnums=(0, 1))
    assert np.isfinite(jax.jit(jax.vmap(gradient))(points, np.ones_like(points))).all()


@over("r", PROXIMABLES)
def test_subgradients_support_the_function(r):
    def surplus(x, u):
        x, u = (r.prox(point, jnp.ones(DIM)) for point in (x, u))
        return r.value(u) - r.value(x) - r.subgradient(x) @ (u - x)

    assert np.all(jax.jit(jax.vmap(surplus))(draws(11), draws(12)) >= -1e-12)


def test_a_group_of_one_is_the_absolute_value():
    one, other = (jax.jit(jax.vmap(r.prox))(draws(13), steps(14)) for r in (GroupL2(0.3, 1), L1(0.3)))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_halfspace_of_signs_is_a_box():
    np.testing.assert_array_equal(nonnegativity().prox(jnp.array([-1.0, 2.0]), jnp.ones(2)), [0, 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1.0, 0.0), "Box: lower must not exceed upper, got 1.0 and 0.0."),
        (lambda: Simplex(0.0), "Simplex: total must be positive, got 0.0."),
        (lambda: GroupL2(1.0, 0), "GroupL2: group must be at least 1, got 0."),
        (lambda: GroupL2(1.0, 4).value(jnp.zeros(6)), "GroupL2: 6 coordinates do not divide into groups of 4."),
    ],
)
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
