"""The proximal gradient map, its accelerators, and the families that it is for."""

import cvxpy as cp
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from composites import COMPOSITE_DISTRIBUTIONS, PROGRAMS
from helpers import over
from models import intermittent, recurrent
from sklearn.linear_model import Lasso as SklearnLasso
from sklearn.linear_model import LogisticRegression

import fpa
from fpa.programs import Point
from fpa.training import LastError

PG = fpa.ProximalGradient()
RESTARTED = fpa.Solver(PG, fpa.Nesterov(restart=True))


def batch_of(family, count=3):
    return fpa.sample_batch(family, fpa.role_key(0, "validation"), count)


@eqx.filter_jit
def first(family):
    return family.program(jax.tree.map(lambda leaf: leaf[0], batch_of(family)))


@over("program", PROGRAMS)
def test_a_fixed_point_solves_the_program_in_every_metric(program):
    solution = RESTARTED.solve(program, tol=1e-12, max_steps=50_000)
    assert solution.status == fpa.Status.SOLVED
    op = PG.bind(program)
    for seed in range(3):
        p = op.p * jax.random.uniform(jax.random.key(seed), op.p.shape, minval=0.1, maxval=1.9)
        np.testing.assert_allclose(op.in_metric(p)(solution.point.x)[0], solution.point.x, atol=1e-9)
    assert program.outside(solution.point) < 1e-10
    moved = Point(solution.point.x + 1e-3, solution.point.y, solution.point.s + 1e-3)
    assert max(program.residuals(moved).worst, program.outside(moved)) > 1e-5


@over("program", PROGRAMS)
def test_no_feasible_point_near_the_solution_is_better(program):
    x = RESTARTED.solve(program, tol=1e-12, max_steps=50_000).point.x
    for seed in range(20):
        near = program.regularizer.prox(x + 0.1 * jax.random.normal(jax.random.key(seed), x.shape), jnp.ones_like(x))
        assert program.value(near) >= program.value(x) - 1e-12


def test_the_lasso_is_the_one_of_scikit_learn():
    family = fpa.SparseCoding(20, 40, 5)
    program = first(family)
    A, b = np.asarray(program.smooth.A), np.asarray(program.smooth.b)
    other = SklearnLasso(family.weight / 20, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(A, b)
    np.testing.assert_allclose(RESTARTED.solve(program, 1e-12).point.x, other.coef_, atol=1e-7)


def test_logistic_regression_is_the_one_of_scikit_learn():
    family = fpa.SparseLogistic(60, 6, 3, weight=0.02)
    program = first(family)
    A, y = np.asarray(program.smooth.A), np.asarray(program.smooth.y)
    options = {"fit_intercept": False, "solver": "liblinear", "tol": 1e-12, "max_iter": 100_000}
    other = LogisticRegression(l1_ratio=1, C=1 / (60 * family.weight), **options).fit(A, y)
    np.testing.assert_allclose(RESTARTED.solve(program, 1e-12).point.x, other.coef_[0], atol=1e-5)


def test_a_multinomial_program_is_solved_as_clarabel_does():
    program = PROGRAMS["multinomial-l1"]
    A, Y = np.asarray(program.smooth.A), np.asarray(program.smooth.Y)
    X = cp.Variable((A.shape[1], Y.shape[1]))
    loss = cp.sum([cp.log_sum_exp(row @ X) for row in A]) - cp.sum(cp.multiply(Y, A @ X))
    cp.Problem(cp.Minimize(loss / len(A) + 0.3 * cp.norm1(X))).solve(cp.CLARABEL)
    ours = RESTARTED.solve(program, 1e-12).point.x.reshape(X.shape)
    np.testing.assert_allclose(ours, X.value, atol=1e-5)


def iterates(accelerator, op, steps):
    z, state = accelerator.init(op)
    found = []
    for _ in range(steps):
        z, state, fz, _ = accelerator.step(op, z, state)
        found.append(np.asarray(fz))
    return np.array(found)


def test_fista_is_its_textbook():
    program = first(fpa.SparseCoding(8, 12, 3))
    A, b = np.asarray(program.smooth.A), np.asarray(program.smooth.b)
    step = 1 / np.linalg.norm(A, 2) ** 2
    x, y, t, expected = np.zeros(12), np.zeros(12), 1.0, []
    for _ in range(30):
        v = y - step * A.T @ (A @ y - b)
        x_next = np.sign(v) * np.maximum(np.abs(v) - 0.1 * step, 0)
        t_next = (1 + np.sqrt(1 + 4 * t**2)) / 2
        y, x, t = x_next + (t - 1) / t_next * (x_next - x), x_next, t_next
        expected.append(x)
    np.testing.assert_allclose(iterates(fpa.Nesterov(), PG.bind(program), 30), expected, atol=1e-12)


def test_restarts_help_where_momentum_overshoots():
    family = fpa.SparseCoding(30, 60, 6)
    values = {}
    for restart in (False, True):
        solver = fpa.Solver(PG, fpa.Nesterov(restart))
        solve = eqx.filter_jit(lambda p, solver=solver: solver.solve(family.program(p), 1e-10, 20_000))
        values[restart] = np.asarray(jax.vmap(solve)(batch_of(family, 10)).iterations)
    assert np.median(values[True]) < 0.7 * np.median(values[False])


@pytest.mark.parametrize("inner", [fpa.AndersonAcceleration(5, "II"), fpa.Nesterov(True)], ids=["anderson", "fista"])
def test_other_accelerators_come_for_free(inner):
    program = first(fpa.SparseCoding(20, 40, 5))
    solution = fpa.Solver(PG, fpa.Safeguarded(inner)).solve(program, 1e-10)
    np.testing.assert_allclose(solution.point.x, RESTARTED.solve(program, 1e-12).point.x, atol=1e-7)


@pytest.mark.parametrize("make", [recurrent, intermittent])
def test_learned_accelerators_of_cone_programs_run_on_it_too(make):
    program = PROGRAMS["least-squares-tall-nonnegative"]
    model = make(PG.bind(program))
    assert np.isfinite(fpa.Solver(PG, model).trace(program, 5).fixed_point).all()
    solution = fpa.Solver(PG, fpa.Safeguarded(model)).solve(program, 1e-8)
    np.testing.assert_allclose(solution.point.x, RESTARTED.solve(program, 1e-12).point.x, atol=1e-6)


@over("family", COMPOSITE_DISTRIBUTIONS)
def test_a_family_draws_different_finite_programs(family):
    batch = batch_of(family)
    programs = jax.vmap(family.program)(batch)
    assert np.isfinite(programs.smooth.A).all()
    assert jax.vmap(lambda program: program.value(program.origin.x))(programs).shape == (3,)
    described = fpa.describe(family)
    assert described["n"] == first(family).smooth.size
    assert described["parameters"].keys() == batch.keys()


def test_sparse_coding_is_as_described():
    A, b = (np.asarray(value) for value in batch_of(fpa.SparseCoding(8, 12, 3), 50).values())
    np.testing.assert_allclose(np.linalg.norm(A, axis=1), 1)
    residual = [np.linalg.lstsq(A[k], b[k])[1].sum() for k in range(50)]
    assert np.abs(residual).max() < 1e-20
    assert len(np.unique(A[:, 0, 0])) == 50


def test_adam_follows_its_formula():
    program = first(fpa.SparseCoding(8, 12, 3))
    accelerator = fpa.Adam(0.05, (0.9, 0.99))
    op = fpa.Subgradient().bind(program)
    z, state = accelerator.init(op)
    m, v, x = 0.0, 0.0, np.zeros(12)
    for k in range(1, 20):
        g = np.asarray(program.smooth.gradient(jnp.asarray(x))) + 0.1 * np.sign(x)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        x = x - 0.05 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.99**k)) + 1e-8)
        z, state, _, point = accelerator.step(op, z, state)
        np.testing.assert_allclose(z, x, atol=1e-10)
        np.testing.assert_array_equal(point.x, z)


def test_a_point_outside_the_set_is_no_solution():
    program = fpa.CompositeProgram(fpa.LeastSquares(jnp.eye(3), -jnp.ones(3)), fpa.nonnegativity())
    solution = fpa.Solver(fpa.Subgradient(), fpa.Adam(0.1, (0.0, 0.0))).solve(program, tol=1e-2, max_steps=200)
    np.testing.assert_allclose(solution.point.x, -1, atol=0.2)
    assert solution.residuals.primal > 0.1 and solution.status == fpa.Status.INACCURATE


def test_the_rate_of_adamhd_follows_its_own_gradient():
    """The derivative of F at the next iterate with respect to the step size that led there."""
    op = fpa.Subgradient().bind(first(fpa.SparseCoding(8, 12, 3)))
    accelerator = fpa.Adam(0.05, (0.9, 0.99), hyper=1e-3)
    z, state = accelerator.init(op)
    for _ in range(3):
        before, earlier = z, state
        z, state, _, _ = accelerator.step(op, z, state)
    following = accelerator.step(op, z, state)[1]
    direction = state.last
    slope = jax.grad(lambda rate: op.program.value(before - rate * direction))(state.rate)
    np.testing.assert_allclose(following.rate - state.rate, -1e-3 * slope, rtol=1e-9)
    assert earlier.rate != state.rate


def test_ada_lista_begins_as_ista_with_its_step_and_threshold():
    program = first(fpa.SparseCoding(8, 12, 3))
    A, b = np.asarray(program.smooth.A), np.asarray(program.smooth.b)
    method, op = fpa.AdaLISTA(8, layers=3, step=0.2), PG.bind(program)
    (z, state), x = method.init(op), np.zeros(12)
    for _ in range(6):
        plain = op(z)[0]
        z, state, fz, point = method.step(op, z, state)
        v = x - np.float32(0.2) * A.T @ (A @ x - b)
        x = np.sign(v) * np.maximum(np.abs(v) - np.float32(0.2), 0)
        np.testing.assert_allclose(z, x, atol=1e-12)
        np.testing.assert_array_equal(point.x, z)
        np.testing.assert_array_equal(fz, plain)


def test_ada_lista_can_be_trained():
    family = fpa.SparseCoding(8, 12, 3)
    ensemble = fpa.stack([fpa.Solver(PG, fpa.AdaLISTA(8, layers=3))])
    options = {"num_updates": 20, "batch_size": 8, "optimizer": optax.adam(1e-2)}
    _, history = fpa.fit(ensemble, family, LastError(3, RESTARTED), jax.random.key(0), **options)
    assert np.mean(history.losses[-5:]) < np.mean(history.losses[:5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fpa.InverseLipschitz(0.0), "InverseLipschitz: factor must be positive, got 0.0."),
        (lambda: fpa.SparseCoding(0, 5, 1), "SparseCoding: m and n must be positive, got m=0, n=5."),
        (lambda: fpa.SparseLogistic(9, 5, 6), "nonzeros must lie between 0 and n = 5, got 6."),
        (lambda: fpa.SparseCoding(9, 5, 2, -1.0), "weight must not be negative, got -1.0."),
        (lambda: fpa.AdaLISTA(4, layers=0), "AdaLISTA: layers must be at least 1, got 0."),
        (
            lambda: fpa.AdaLISTA(9).init(PG.bind(first(fpa.SparseLogistic(9, 5, 2)))),
            "AdaLISTA is made for LeastSquares with L1, not for Logistic with L1.",
        ),
        (
            lambda: fpa.AdaLISTA(9).init(PG.bind(first(fpa.SparseCoding(4, 5, 1)))),
            "AdaLISTA is made for m = 9; b has shape (4,).",
        ),
        (
            lambda: fpa.Adam().init(PG.bind(first(fpa.SparseCoding(4, 5, 1)))),
            "Adam needs the map of Subgradient, not ProximalGradientMap.",
        ),
    ],
)
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
