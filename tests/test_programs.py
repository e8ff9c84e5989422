"""Cone programs: what they accept, and how well a point solves them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import LAYOUTS, instance, kkt_error, over, random_programs

from fpa.cones import NonNegative, PositiveSemidefinite, Product, SecondOrder, Zero
from fpa.matrices import Dense, Sparse, Sparsity
from fpa.programs import ConeProgram, Point, norm

CONE = Product([NonNegative(2), SecondOrder(1)])
SOME = {name: LAYOUTS[name] for name in ("interleaved", "all", "wide")}


def data() -> dict:
    return {"A": np.arange(6.0).reshape(3, 2), "b": np.ones(3), "c": np.ones(2), "cone": CONE}


@jax.jit
@jax.vmap
def points_and_residuals(program: ConeProgram, z):
    point = Point(*jnp.split(z, (program.c.size, program.c.size + program.b.size)))
    return point, program.residuals(point)


@over("layout", SOME)
def test_residuals_are_those_of_numpy(layout):
    (cone, n), rng = layout, np.random.default_rng(0)
    programs = random_programs(0, layout, 4)
    points, residuals = points_and_residuals(programs, rng.standard_normal((4, n + 2 * cone.dim)))
    for i in range(4):
        expected, ours = kkt_error(instance(programs, i), instance(points, i)), instance(residuals, i)
        for name in ("primal", "dual", "gap"):
            np.testing.assert_allclose(getattr(ours, name), expected[name], rtol=1e-12)
        assert float(ours.worst) == max(float(ours.primal), float(ours.dual), float(ours.gap))


def test_residuals_and_their_gradient_at_an_exact_solution():
    """min x over x >= 1: all residuals are exactly 0, where the derivative of a norm could be NaN."""
    program = ConeProgram([[-1.0]], [-1.0], [1.0], Product([NonNegative(1)]))
    point = Point(x=jnp.ones(1), y=jnp.ones(1), s=jnp.zeros(1))

    def worst_and_sum(point):
        residuals = program.residuals(point)
        return residuals.primal + residuals.dual, residuals.worst

    gradient, worst = jax.jit(jax.grad(worst_and_sum, has_aux=True))(point)
    assert float(worst) == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_norm_has_derivative_zero_at_zero():
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(norm)))(jnp.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(values, [5, 0])
    np.testing.assert_allclose(gradients, [[0.6, 0.8], [0, 0]])


def test_norm_hides_no_nan():
    """A residual of 0 would pass for a solution."""
    assert np.isnan(norm(jnp.array([1.0, jnp.nan])))


def test_a_sparse_program_is_the_dense_one():
    """Only the named entries of A take part, in residuals and in derivatives."""
    A = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    rows, cols = np.nonzero(A)
    sparsity = Sparsity(rows, cols, A.shape)
    b, c = np.ones(3), np.ones(2)
    assert isinstance(ConeProgram(A, b, c, CONE).matrix, Dense)
    assert isinstance(ConeProgram(A, b, c, CONE, sparsity=sparsity).matrix, Sparse)
    point = Point(x=jnp.array([1.0, -2.0]), y=jnp.array([0.5, 1.0, -1.0]), s=jnp.ones(3))

    @jax.jit
    def value_and_gradient(A, sparsity):
        return jax.value_and_grad(lambda A: ConeProgram(A, b, c, CONE, sparsity=sparsity).residuals(point).primal)(A)

    (value, gradient), (thin_value, thin) = (value_and_gradient(A, pattern) for pattern in (None, sparsity))
    np.testing.assert_allclose(thin_value, value, rtol=1e-14)
    np.testing.assert_allclose(thin[rows, cols], gradient[rows, cols], rtol=1e-13)
    assert np.all(thin[A == 0] == 0) and not np.all(gradient[A == 0] == 0)


def test_integers_become_floating_and_single_precision_stays():
    program = ConeProgram([[1, 2], [3, 4], [5, 6]], [1, 2, 3], [1, 1], CONE)
    assert {program.A.dtype, program.b.dtype, program.c.dtype, program.context.dtype} == {jnp.dtype("float64")}
    single = ConeProgram(*(np.float32(data()[name]) for name in "Abc"), CONE)
    assert {single.A.dtype, single.b.dtype, single.c.dtype, single.context.dtype} == {jnp.dtype("float32")}


def test_data_of_two_precisions_are_brought_to_the_higher():
    program = ConeProgram(data()["A"], np.float32(data()["b"]), np.float32(data()["c"]), CONE)
    assert {program.A.dtype, program.b.dtype, program.c.dtype} == {jnp.dtype("float64")}


def test_a_point_outside_the_cone_proves_nothing():
    """x = 1, s = -1 leaves Ax + s = 0 and lowers the objective, but s is not in the cone; y = -1 likewise."""
    program = ConeProgram([[1.0]], [1.0], [-1.0], NonNegative(1))
    raw = Point(jnp.ones(1), -jnp.ones(1), -jnp.ones(1))
    proof = ConeProgram([[0.0]], [1.0], [-1.0], NonNegative(1)).certify(raw, 1e-7)
    assert not program.certify(raw, 1e-7).unbounded and not proof.infeasible and not proof.unbounded


def test_the_context_is_empty_or_what_is_given():
    assert ConeProgram(**data()).context.shape == (0,)
    np.testing.assert_array_equal(ConeProgram(**data(), context=[1.0, 2.0]).context, [1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": np.ones(3)}, r"A must be a matrix, got shape \(3,\)"),
        ({"A": np.ones((3, 2, 1))}, r"A must be a matrix, got shape \(3, 2, 1\)"),
        ({"b": np.ones(4)}, r"b must have shape \(3,\) to fit A of shape \(3, 2\), got \(4,\)"),
        ({"b": np.ones((3, 1))}, r"b must have shape \(3,\) .*, got \(3, 1\)"),
        ({"c": np.ones(3)}, r"c must have shape \(2,\) to fit A of shape \(3, 2\), got \(3,\)"),
        ({"c": 1.0}, r"c must have shape \(2,\) .*, got \(\)"),
        ({"P": np.array([[2.0, 1.0], [0.0, 2.0]])}, "P must be symmetric; give both of its triangles"),
        ({"cone": Product([NonNegative(2)])}, r"cone has dimension 2, but A has 3 rows"),
        ({"cone": PositiveSemidefinite(3)}, r"cone has dimension 6, but A has 3 rows"),
        ({"cone": Product([])}, r"cone has dimension 0, but A has 3 rows"),
        ({"A": np.array([[0, 1], [2, np.nan], [4, 5]])}, r"A\[1, 1\] is not finite"),
        ({"b": np.array([0, 1, np.inf])}, r"b\[2\] is not finite"),
        ({"c": np.array([-np.inf, 1])}, r"c\[0\] is not finite"),
        ({"context": np.array([0, np.nan])}, r"context\[1\] is not finite"),
    ],
)
def test_bad_data_is_one_sentence_that_names_the_culprit(change, message):
    with pytest.raises(ValueError, match=rf"^ConeProgram: .*{message}.*\.$"):
        ConeProgram(**(data() | change))


def test_a_traced_instance_with_bad_values_harms_no_other():
    """Under jit and vmap values are unknown: they stay data, one instance each. Shapes are still checked."""

    @jax.jit
    @jax.vmap
    def primal(b):
        program = ConeProgram(data()["A"], b, data()["c"], CONE)
        return program.residuals(Point(jnp.zeros(2), jnp.zeros(3), jnp.zeros(3))).primal

    values = primal(jnp.ones((3, 3)).at[1, 2].set(jnp.nan))
    assert np.array_equal(np.isfinite(values), [True, False, True])
    with pytest.raises(ValueError, match=r"b must have shape \(3,\)"):
        primal(jnp.ones((3, 4)))


def test_any_single_cone_will_do():
    program = ConeProgram(np.eye(3), np.ones(3), np.ones(3), Zero(3))
    assert program.cone.dim == 3
