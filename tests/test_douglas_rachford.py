"""Douglas-Rachford splitting: any metric has the same solutions, and the known special cases are special cases."""

import cvxpy as cp
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpa.accelerators import AndersonAcceleration, Normalizer, Picard, Safeguarded
from fpa.accelerators.metric import LearnedMetric, context_network
from fpa.canonicalize import canonicalize
from fpa.cones import NonNegative, Product, SecondOrder, Zero
from fpa.distributions import BoxQP, Portfolio, QuadcopterMPC, RandomQP, role_key, sample_batch
from fpa.maps import SCS, ActiveSetMetric, ConstantMetric, DouglasRachford, ProductMetric, giselsson_boyd
from fpa.programs import ConeProgram
from fpa.solver import Solver, Status

FAMILIES = {
    "box": BoxQP(),
    "portfolio": Portfolio(8),
    "random": RandomQP(6, 2.0),
    "quadcopter": QuadcopterMPC(4),
}


def batch_of(family, n=3):
    return sample_batch(family, role_key(0, "validation"), n)


@eqx.filter_jit
def one(family, index=0):
    return family.program(jax.tree.map(lambda leaf: leaf[index], batch_of(family)))


def by_clarabel(program):
    """The solution of one instance, by CVXPY and Clarabel from the canonical data."""
    x, s = cp.Variable(program.c.shape[0]), cp.Variable(program.b.shape[0])
    tied = program.cone.equalities
    rows = [program.A @ x + s == program.b, s[~tied] >= 0] + ([s[tied] == 0] if tied.any() else [])
    objective = cp.Minimize(cp.quad_form(x, cp.psd_wrap(np.asarray(program.P))) / 2 + program.c @ x)
    cp.Problem(objective, rows).solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return x.value


def metrics_of(family):
    program = one(family)
    n, m = program.c.shape[0], program.b.shape[0]
    rng = np.random.default_rng(0)
    size = program.context.shape[0]
    normalizer = Normalizer(jnp.zeros(size), jnp.ones(size))
    learned = LearnedMetric(context_network(jax.random.key(0), program, normalizer, units=8))
    wild = jax.tree.map(lambda leaf: 3 * leaf if eqx.is_inexact_array(leaf) else leaf, learned)
    return {
        "identity": lambda: ConstantMetric(),
        "scalar": lambda: ConstantMetric(3.0, 0.5),
        "random": lambda: ConstantMetric(jnp.exp(rng.uniform(-2, 2, n)), jnp.exp(rng.uniform(-2, 2, m))),
        "learned": lambda: wild,
        "product": lambda: ProductMetric((ConstantMetric(3.0, 0.5), wild)),
        "oracle": lambda: ActiveSetMetric(Solver(DouglasRachford())),
        "giselsson": lambda: giselsson_boyd(program),
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_every_metric_has_the_same_solution(name):
    """All metrics on one family, the wildest on the others."""
    family = FAMILIES[name]
    expected = by_clarabel(one(family))
    make = metrics_of(family)
    for kind in make if name == "random" else ("learned", "random"):
        metric = make[kind]()
        solver = Solver(DouglasRachford(metric), Safeguarded(AndersonAcceleration(memory=10, kind="II")))
        solution = solver.solve(one(family), tol=1e-9, max_steps=50_000)
        assert solution.status == Status.SOLVED, (kind, solution.residuals)
        np.testing.assert_allclose(solution.point.x, expected, atol=1e-6, err_msg=kind)
    start = Solver(DouglasRachford(metric)).solve(one(family), tol=1e-7, start=solution.point)
    assert start.iterations == 0


@pytest.mark.parametrize("name", ["box", "portfolio", "random"])
def test_plain_iteration_reaches_it_in_random_metrics(name):
    """Twenty of them, weights between 0.03 and 30; no acceleration, no safeguard."""
    program = one(FAMILIES[name])
    n, m = program.c.shape[0], program.b.shape[0]

    @jax.vmap
    def solved(key):
        weights = jnp.exp(jax.random.uniform(key, (n + m,), minval=-3.4, maxval=3.4))
        metric = ConstantMetric(weights[:n], weights[n:])
        return Solver(DouglasRachford(metric)).solve(program, tol=1e-9, max_steps=50_000)

    solutions = jax.jit(solved)(jax.random.split(jax.random.key(0), 20))
    assert (solutions.status == Status.SOLVED).all(), solutions.iterations
    expected = np.tile(by_clarabel(program), (20, 1))
    np.testing.assert_allclose(solutions.point.x, expected, atol=1e-6)


@pytest.mark.parametrize("rho", [0.5, 1.0, 4.0])
def test_without_weight_on_x_it_is_admm(rho):
    """Against the textbook's iteration in scaled form."""
    program = one(FAMILIES["random"])
    P, A, b, c = (np.asarray(v) for v in (program.P, program.A, program.b, program.c))
    op = DouglasRachford(ConstantMetric(0.0, rho)).bind(program)
    z = op.initial()
    s, u = np.zeros_like(b), np.zeros_like(b)
    for _ in range(20):
        x = np.linalg.solve(P + rho * A.T @ A, -c - rho * A.T @ (s + u - b))
        s = np.maximum(b - A @ x - u, 0)
        u = u + A @ x + s - b
        z, point = op(z)
        np.testing.assert_allclose(point.x, x, atol=1e-10)
        np.testing.assert_allclose(point.y, rho * u, atol=1e-9)


@pytest.mark.parametrize(
    ("family", "expected"),
    [(BoxQP(), (1.2e-2, 2.7e-4, 1.3e-7)), (Portfolio(20), (2e-3, 3.6e-4, 1.7e-5))],
)
def test_the_identity_metric_converges_as_king_et_al_saw_it(family, expected):
    """Mean squared error at iterations 5, 10 and 20, over 40 instances, within a factor of 5."""

    def error(parameters):
        program = family.program(parameters)
        solution = Solver(DouglasRachford(), AndersonAcceleration(5)).solve(program, tol=1e-11).point.x
        op = DouglasRachford().bind(program)
        record = lambda op, z, fz, point: jnp.sum((point.x - solution) ** 2)  # noqa: E731
        return Solver(DouglasRachford()).run(op, op.initial(), None, 0, 20, record)[2]

    errors = jax.jit(jax.vmap(error))(batch_of(family, 40)).mean(axis=0)
    np.testing.assert_allclose(np.log(errors[np.array([4, 9, 19])]), np.log(expected), atol=np.log(5))


def test_a_point_lifted_is_the_point_read():
    program = one(FAMILIES["quadcopter"])
    op = DouglasRachford(ConstantMetric(1.0, 2.0)).bind(program)
    solution = Solver(DouglasRachford(), AndersonAcceleration(5)).solve(program, tol=1e-10).point
    z = op.lift(solution, 1.0)
    fz, point = op(z)
    np.testing.assert_allclose(fz, z, atol=1e-7)
    for ours, theirs in zip(jax.tree.leaves(point), jax.tree.leaves(solution), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("name", ["portfolio", "quadcopter"])
def test_derivatives_by_all_data_are_those_of_finite_differences(name):
    """Rows without slacks among them, whose null space the proximal step is taken in."""
    program, metric = one(FAMILIES[name]), metrics_of(FAMILIES[name])["random"]()
    keys = jax.random.split(jax.random.key(0), 4)
    data = (program.A, program.b, program.c, program.P)
    ways = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, data, strict=True)]
    ways[3] = ways[3] + ways[3].T

    def after_five(t):
        moved = tuple(leaf + t * way for leaf, way in zip(data, ways, strict=True))
        op = DouglasRachford(metric).bind(eqx.tree_at(lambda p: (p.A, p.b, p.c, p.P), program, moved))
        z, point = op.initial(), None
        for _ in range(5):
            z, point = op(z)
        return jnp.concatenate([point.x, point.y, point.s])

    h = 1e-6
    _, found = jax.jvp(jax.jit(after_five), (0.0,), (1.0,))
    expected = (after_five(h) - after_five(-h)) / (2 * h)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_oracle_is_fast_and_out_of_range_parameters_do_not_diverge():
    family = FAMILIES["portfolio"]
    far = jax.tree.map(lambda leaf: 3 * leaf, batch_of(family, 6))
    steps = {}
    for name, make in metrics_of(family).items():
        solver = Solver(DouglasRachford(make()), Picard())
        solution = jax.vmap(lambda p, s=solver: s.solve(family.program(p), tol=1e-6))(far)
        assert np.all(solution.status == Status.SOLVED), name
        steps[name] = float(solution.iterations.mean())
    assert steps["oracle"] < steps["identity"]


def test_quadratic_objectives_are_canonicalized_and_refused_by_scs():
    x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x) + p @ x), [x >= 0])
    canonical = canonicalize(problem, quadratic=True)
    program = canonical({"p": jnp.array([-1.0, 2.0])})
    np.testing.assert_allclose(program.P, 2 * np.eye(2))
    np.testing.assert_allclose(program.c, [-1.0, 2.0])
    with pytest.raises(ValueError, match=r"SCS: .* quadratic=False"):
        SCS().bind(program)
    assert canonicalize(cp.Problem(cp.Minimize(p @ x), [x >= 0]), quadratic=True).P is None
    weight = cp.Parameter(nonneg=True, name="w")
    with pytest.raises(ValueError, match="quadratic part of the objective depends on parameters"):
        canonicalize(cp.Problem(cp.Minimize(weight * cp.sum_squares(x)), [x >= 0]), quadratic=True)


def _linear(ties: int) -> ConeProgram:
    """min x1 + 2 x2 over x >= 0 with x1 + x2 = 1, the equality given several times."""
    A = np.concatenate([np.ones((ties, 2)), -np.eye(2)])
    cone = Product((Zero(ties), NonNegative(2)))
    return ConeProgram(A, np.array([1.0] * ties + [0.0, 0.0]), np.array([1.0, 2.0]), cone)


def test_dependent_equality_rows_are_never_called_solved():
    assert Solver(DouglasRachford()).solve(_linear(1)).status == Status.SOLVED
    assert Solver(DouglasRachford()).solve(_linear(2)).status == Status.NONFINITE


@pytest.mark.parametrize("splitting", [SCS, DouglasRachford])
def test_weights_of_coupled_rows_are_averaged(splitting):
    """Minimise c'x over the unit ball, with a weight of its own for every row of the second-order cone."""
    A, b = np.concatenate([np.zeros((1, 3)), -np.eye(3)]), np.array([1.0, 0.0, 0.0, 0.0])
    program = ConeProgram(A, b, np.array([1.0, 2.0, -2.0]), SecondOrder(4))
    solution = Solver(splitting(metric=ConstantMetric(s=jnp.array([1.0, 5.0, 0.2, 3.0])))).solve(program)
    assert solution.status == Status.SOLVED
    np.testing.assert_allclose(solution.point.x, [-1 / 3, -2 / 3, 2 / 3], atol=1e-4)


@pytest.mark.parametrize(
    ("make", "culprit"),
    [
        (lambda: ConstantMetric(s=0.0), "s must be positive"),
        (lambda: ConstantMetric(x=-1.0), "x must be nonnegative"),
        (lambda: ProductMetric(()), "factors must not be empty"),
        (lambda: DouglasRachford(relaxation=2.0), "relaxation must lie"),
        (lambda: giselsson_boyd(_linear(1)), "P has to be positive definite"),
    ],
)
def test_bad_numbers_are_named(make, culprit):
    with pytest.raises(ValueError, match=culprit):
        make()
