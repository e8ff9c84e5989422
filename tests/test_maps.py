"""Laws of every splitting, against the equations of the paper and the optimality conditions in NumPy."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import LAYOUTS, SPLITTINGS, equations, instance, kkt_error, over, projection, random_pairs

from fpa.accelerators import AndersonAcceleration, Safeguarded
from fpa.maps import SCS
from fpa.maps.linear_system import LinearSystem, inverse_spd
from fpa.matrices import Dense
from fpa.programs import ConeProgram, Point
from fpa.solver import Solver, short_record

COUNT = 5
PROGRAMS, SOLUTIONS = random_pairs(1, LAYOUTS["all"], COUNT)
CONE, N = LAYOUTS["all"]
M = CONE.dim
ELSEWHERE = np.random.default_rng(0).standard_normal((COUNT, 2 * (N + M + 1)))
SEVERAL_TAU = 2.5


class Applied(eqx.Module):
    """A map, the images of some iterates, and what it says of them."""

    op: eqx.Module
    lifted: jax.Array
    f_lifted: jax.Array
    point: Point
    read: Point
    fz: jax.Array
    f_scaled: jax.Array
    moved: jax.Array
    settled: jax.Array
    f_settled: jax.Array
    found: Point
    valid: jax.Array
    residuals: tuple


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(None, 0, 0, 0))
def _apply(splitting, program: ConeProgram, solution: Point, z) -> Applied:
    op = splitting.bind(program)
    lifted = op.lift(solution, SEVERAL_TAU)
    f_lifted, point = op(lifted)
    nearby = op.lift(Point(solution.x + 0.1, solution.y, solution.s), SEVERAL_TAU)
    accelerator = Safeguarded(AndersonAcceleration(memory=10))
    settled, _, _ = Solver(splitting, accelerator).run(op, *accelerator.init(op), 0, 400, record=short_record)
    f_settled, found = op(settled)
    fz, _ = op(z)
    return Applied(
        op, lifted, f_lifted, point, op.certificate(lifted), fz, op(7 * z)[0], op(nearby)[0] - nearby, settled,
        f_settled, found, op.scale(f_settled)[1], (op.residual(z, fz), op.residual_normalized(z, fz)),
    )  # fmt: skip


@functools.cache
def applied(name: str) -> Applied:
    scalars_as_data = jax.tree.map(jnp.asarray, SPLITTINGS[name])
    return jax.tree.map(np.asarray, _apply(scalars_as_data, PROGRAMS, SOLUTIONS, jnp.asarray(ELSEWHERE)))


def assert_points_agree(point: Point, other: Point, factor: float = 1.0):
    for value, expected in zip(jax.tree.leaves(point), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(value, factor * np.asarray(expected), atol=1e-9)


@over("name", {name: name for name in SPLITTINGS})
def test_a_solution_lifted_is_a_fixed_point(name):
    a = applied(name)
    np.testing.assert_allclose(a.f_lifted, a.lifted, atol=1e-9 * np.abs(a.lifted).max())
    assert_points_agree(a.point, SOLUTIONS)


@over("name", {name: name for name in SPLITTINGS})
def test_what_is_no_solution_is_no_fixed_point(name):
    assert np.all(np.linalg.norm(applied(name).moved, axis=1) > 1e-4)


@over("name", {name: name for name in SPLITTINGS})
def test_a_fixed_point_with_positive_tau_is_a_solution(name):
    a = applied(name)
    moved = np.linalg.norm(a.f_settled - a.settled, axis=1) / np.linalg.norm(a.settled, axis=1)
    assert np.all(moved < 1e-10) and np.all(a.valid)
    for k in range(COUNT):
        errors = kkt_error(instance(PROGRAMS, k), instance(a.found, k))
        assert max(errors.values()) < 1e-6, errors


@over("name", {name: name for name in SPLITTINGS})
def test_lifting_and_reading_are_inverse(name):
    assert_points_agree(applied(name).read, SOLUTIONS, SEVERAL_TAU)


@over("name", {name: name for name in SPLITTINGS})
def test_the_map_is_positively_homogeneous(name):
    a = applied(name)
    np.testing.assert_allclose(a.f_scaled, 7 * a.fz, rtol=1e-9, atol=1e-9 * np.abs(a.fz).max())


@over("name", {name: name for name in SPLITTINGS})
def test_the_map_is_the_stated_one_in_its_metric(name):
    """u~ = (R + Q)^-1 (R u + v); u+ = Pi(u_a - R^-1 v); v+ = v + R (u+ - u_a), Q of the data the map holds."""
    a = applied(name)
    for k in range(COUNT):
        op = instance(a.op, k)
        R = np.concatenate([np.asarray(op.system.Rx), np.asarray(op.system.Ry), [1]])
        expected = _step(op.system.A.dense(), op.b, op.c, R, float(op.relaxation), ELSEWHERE[k])
        np.testing.assert_allclose(a.fz[k], expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


def test_without_options_the_map_is_equations_4_to_6():
    letter = SCS(relaxation=1.0, rho_x=1.0, scale=1.0, equilibrate=False)
    fz = eqx.filter_jit(eqx.filter_vmap(lambda program, z: letter.bind(program)(z)[0]))(PROGRAMS, ELSEWHERE)
    for k in range(COUNT):
        A, b, c = (np.asarray(value)[k] for value in (PROGRAMS.A, PROGRAMS.b, PROGRAMS.c))
        np.testing.assert_allclose(fz[k], _step(A, b, c, np.ones(N + M + 1), 1.0, ELSEWHERE[k]), atol=1e-9)


def _step(A, b, c, R, relaxation, z):
    A, b, c = (np.asarray(value) for value in (A, b, c))
    Q = np.block([
        [np.zeros((N, N)), A.T, c[:, None]],
        [-A, np.zeros((M, M)), b[:, None]],
        [-c[None], -b[None], np.zeros((1, 1))],
    ])  # fmt: skip
    u, v = z[: N + M + 1], z[N + M + 1 :]
    tilde = np.linalg.solve(np.diag(R) + Q, R * u + v)
    relaxed = relaxation * tilde + (1 - relaxation) * u
    w = relaxed - v / R
    next_u = np.concatenate([w[:N], projection(CONE, w[N:-1], dual=True), np.maximum(w[-1:], 0)])
    return np.concatenate([next_u, v + R * (next_u - relaxed)])


@over("name", {name: name for name in SPLITTINGS})
def test_residuals_are_those_of_numpy(name):
    a = applied(name)
    u, next_u = ELSEWHERE[:, : N + M + 1], a.fz[:, : N + M + 1]
    np.testing.assert_allclose(a.residuals[0], np.linalg.norm(next_u - u, axis=1), rtol=1e-10)
    at = [(part[:, :-1] / np.where(part[:, -1:] > 0, part[:, -1:], np.inf)) for part in (next_u, u)]
    np.testing.assert_allclose(a.residuals[1], np.linalg.norm(at[0] - at[1], axis=1), rtol=1e-8)


@over("name", {name: name for name in SPLITTINGS if name != "scs"})
def test_scalars_and_equilibration_change_the_path(name):
    assert np.all(np.linalg.norm(applied(name).fz - applied("scs").fz, axis=1) > 1e-3)


def test_zero_cones_have_a_metric_of_their_own():
    bind = eqx.filter_jit(lambda program: SCS(scale=2.0, zero_scale=10.0).bind(program))
    np.testing.assert_allclose(bind(instance(PROGRAMS, 0)).system.Ry, np.where(CONE.equalities, 0.05, 0.5))


def test_scale_reads_tau_and_says_where_it_vanishes():
    op = instance(applied("scs").op, 0)
    z = op.lift(instance(SOLUTIONS, 0), 2.0)
    assert [float(op.scale(z)[0]), bool(op.scale(z)[1])] == [2.0, True]
    for tau in (0.0, -1.0, 1e-16):
        assert not op.scale(z.at[N + M].set(tau))[1]


def test_the_cold_start_has_tau_and_kappa_alone():
    z = np.asarray(instance(applied("scs").op, 0).initial())
    assert np.flatnonzero(z).tolist() == [N + M, 2 * (N + M) + 1]
    np.testing.assert_allclose(z[[N + M, -1]], np.sqrt(N + M + 1))


@pytest.mark.parametrize("factor", [1e-300, 1e-3, 1e150, 1e300])
def test_the_size_of_an_iterate_neither_under_nor_overflows(factor):
    z = jnp.asarray(ELSEWHERE[0])
    size = instance(applied("scs").op, 0).size(factor * z)
    np.testing.assert_allclose(size, factor * np.linalg.norm(z), rtol=1e-12)


def _system(seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((7, 4)), rng.uniform(0.5, 2, 7), rng.standard_normal(4), rng.standard_normal(7)


def test_the_linear_system_is_solved():
    A, Ry, wx, wy = (jnp.asarray(value) for value in _system())
    x, y = LinearSystem(Dense(A), jnp.full(A.shape[1], 0.3), Ry).solve(wx, wy)
    matrix = np.block([[0.3 * np.eye(4), A.T], [-A, np.diag(Ry)]])
    np.testing.assert_allclose(np.append(x, y), np.linalg.solve(matrix, np.append(wx, wy)), rtol=1e-10)


def test_the_derivative_of_the_inverse_is_that_of_central_differences():
    A, *_ = _system()
    H, direction = A.T @ A, np.random.default_rng(1).standard_normal((4, 4))
    direction, h = direction + direction.T, 1e-6
    inverse = jax.jit(inverse_spd)
    _, tangent = jax.jvp(inverse, (H,), (direction,))
    difference = (inverse(H + h * direction) - inverse(H - h * direction)) / (2 * h)
    np.testing.assert_allclose(tangent, difference, rtol=1e-6, atol=1e-6 * np.abs(tangent).max())
    _, pull = jax.vjp(inverse, H)
    np.testing.assert_allclose(np.vdot(pull(direction)[0], direction), np.vdot(direction, tangent), rtol=1e-8)


@pytest.mark.parametrize("argument", ["A", "b", "c"])
def test_a_gradient_costs_no_second_factorisation(argument):
    """One Cholesky factorisation, in no loop, and no derivative of one (it would be triangular solves)."""
    program = instance(PROGRAMS, 0)

    def loss(value):
        data = {"A": program.A, "b": program.b, "c": program.c} | {argument: value}
        return Solver().trace(ConeProgram(**data, cone=CONE), 5, residuals=False).fixed_point[-1]

    def counts(function):
        found = list(equations(jax.make_jaxpr(function)(getattr(program, argument)).jaxpr))
        return [sum(k for e, k in found if e.primitive.name == kind) for kind in ("cholesky", "triangular_solve")]

    assert counts(loss) == [1, 2]
    assert counts(jax.grad(loss)) == [1, 2]


@pytest.mark.parametrize("name", ["rho_x", "scale", "zero_scale"])
@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
def test_a_bad_scalar_is_named(name, value):
    with pytest.raises(ValueError, match=f"^SCS: {name} must be positive and finite, got {value}.$"):
        SCS(**{name: value})


@pytest.mark.parametrize("value", [0, 2, -0.5, 2.5, float("nan")])
def test_a_bad_relaxation_is_named(value):
    with pytest.raises(ValueError, match=f"^SCS: relaxation must lie strictly between 0 and 2, got {value}.$"):
        SCS(relaxation=value)
