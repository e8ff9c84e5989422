"""`Solver.solve`: what it solves agrees with the C solvers; what it does not solve, it does not call solved."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DISTRIBUTIONS,
    LAYOUTS,
    blocks,
    instance,
    kkt_error,
    outside,
    over,
    random_pairs,
    random_programs,
    solve_clarabel,
    solve_scs,
)  # fmt: skip

from fpa.accelerators import AndersonAcceleration
from fpa.cones import NonNegative, Zero
from fpa.distributions import role_key, sample_batch
from fpa.programs import ConeProgram, Point
from fpa.solver import Solution, Solver, Status

COUNT = 20
SOLVER = Solver(accelerator=AndersonAcceleration(memory=10))
NAMES = {name: name for name in LAYOUTS}
CONE, N = LAYOUTS["all"]
M = CONE.dim


@eqx.filter_jit
@eqx.filter_vmap
def solve(program: ConeProgram) -> Solution:
    return SOLVER.solve(program, tol=1e-8, max_steps=10_000)


def statuses(solution: Solution) -> list[str]:
    return [Status(int(status)).name for status in np.atleast_1d(solution.status)]


def objective(program: ConeProgram, point: Point) -> float:
    return float(np.vdot(program.c, point.x))


@functools.cache
def solved(name: str) -> tuple[ConeProgram, Solution]:
    programs = random_programs(0, LAYOUTS[name], COUNT)
    return programs, jax.device_get(solve(programs))


def assert_agrees_with(program: ConeProgram, point: Point, reference: Point):
    errors = kkt_error(program, point)
    assert max(errors.values()) < 1e-7, errors
    expected = objective(program, reference)
    assert abs(objective(program, point) - expected) <= 1e-6 * (1 + abs(expected))


@over("name", NAMES)
def test_random_programs_are_solved_as_by_the_c_solvers(name):
    programs, solution = solved(name)
    assert statuses(solution) == ["SOLVED"] * COUNT
    for k in range(COUNT):
        program, point = instance(programs, k), instance(solution.point, k)
        reference, status = solve_clarabel(program)
        assert status == "Solved"
        assert_agrees_with(program, point, reference)
    reference, status = solve_scs(program)
    assert status == "solved"
    assert_agrees_with(program, point, reference)


@over("distribution", DISTRIBUTIONS)
def test_distributions_are_solved_as_by_a_c_solver(distribution):
    batch = sample_batch(distribution, role_key(0, "test"), 4)
    programs = eqx.filter_jit(eqx.filter_vmap(distribution.program))(batch)
    solution = jax.device_get(solve(programs))
    assert statuses(solution) == ["SOLVED"] * 4
    for k in range(4):
        program = instance(programs, k)
        assert_agrees_with(program, instance(solution.point, k), solve_clarabel(program)[0])


def _rng(k: int) -> np.random.Generator:
    return np.random.default_rng(k)


def _stack(programs: list[ConeProgram]) -> ConeProgram:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *programs)


def _within_cones(factors: np.ndarray) -> np.ndarray:
    """One factor for all entries that a cone couples."""
    for part, rows in blocks(CONE):
        if not isinstance(part, Zero | NonNegative):
            factors[rows] = factors[rows[0]]
    return factors


def _infeasible(k: int) -> ConeProgram:
    """With y in K*, A'y = 0 and b'y = -1."""
    rng = _rng(k)
    y = np.asarray(CONE.project_dual(jnp.asarray(rng.standard_normal(M))))
    A, b = rng.standard_normal((M, N)), rng.standard_normal(M)
    return ConeProgram(A - np.outer(y, y @ A) / (y @ y), b - y * (b @ y + 1) / (y @ y), rng.standard_normal(N), CONE)


def _unbounded(k: int) -> ConeProgram:
    """Feasible, with Ax + s = 0, s in K and c'x = -1."""
    rng = _rng(k)
    x, s, slack = rng.standard_normal(N), *(CONE.project(jnp.asarray(rng.standard_normal(M))) for _ in range(2))
    A, c = rng.standard_normal((M, N)), rng.standard_normal(N)
    A = A - np.outer(A @ x + s, x) / (x @ x)
    return ConeProgram(A, A @ rng.standard_normal(N) + slack, c - x * (c @ x + 1) / (x @ x), CONE)


def _badly_scaled(program: ConeProgram, k: int) -> ConeProgram:
    rng = _rng(k)
    D, E = _within_cones(10 ** rng.uniform(-4, 4, M)), 10 ** rng.uniform(-4, 4, N)
    return ConeProgram(D[:, None] * program.A * E, D * program.b, E * program.c, CONE)


@functools.cache
def impossible() -> tuple[ConeProgram, Solution]:
    """Five infeasible and five unbounded programs, and the same badly scaled."""
    programs = [make(k) for make in (_infeasible, _unbounded) for k in range(5)]
    programs = _stack(programs + [_badly_scaled(program, k) for k, program in enumerate(programs)])
    return programs, jax.device_get(solve(programs))


def test_infeasible_and_unbounded_programs_are_told_apart():
    assert statuses(impossible()[1]) == 2 * (5 * ["INFEASIBLE"] + 5 * ["UNBOUNDED"])


def test_they_are_told_apart_in_single_precision_too():
    programs = jax.tree.map(lambda leaf: leaf[:10].astype(jnp.float32), impossible()[0])
    solution = eqx.filter_jit(eqx.filter_vmap(SOLVER.solve))(programs)
    assert statuses(jax.device_get(solution)) == 5 * ["INFEASIBLE"] + 5 * ["UNBOUNDED"]


@pytest.mark.parametrize("k", [0, 1, 2, 3, 4, 10, 11, 12, 13, 14])
def test_a_certificate_of_infeasibility_checks(k):
    program, point = (instance(batch, k) for batch in (impossible()[0], impossible()[1].point))
    y = np.asarray(point.y)
    assert np.isclose(program.b @ y, -1)
    assert np.linalg.norm(program.A.T @ y) < 1e-6
    assert outside(CONE, y, dual=True) <= 1e-9 * np.linalg.norm(y)
    assert np.isnan(point.x).all() and np.isnan(point.s).all()


@pytest.mark.parametrize("k", [5, 6, 7, 8, 9, 15, 16, 17, 18, 19])
def test_a_certificate_of_unboundedness_checks(k):
    program, point = (instance(batch, k) for batch in (impossible()[0], impossible()[1].point))
    assert np.isclose(program.c @ point.x, -1)
    assert np.linalg.norm(program.A @ point.x + point.s) < 1e-6
    assert outside(CONE, point.s) <= 1e-9 * np.linalg.norm(point.s)
    assert np.isnan(point.y).all()


def _hard_cases() -> dict[str, ConeProgram]:
    """Feasible and bounded programs that are degenerate or badly scaled, all of one shape."""
    batch, points = random_pairs(3, LAYOUTS["all"], COUNT)
    pairs = [(instance(batch, k), instance(points, k)) for k in range(COUNT)]
    base, point = pairs[0]
    A, b, c = base.A, base.b, base.c

    def consistent(A, s=point.s, y=point.y):
        return ConeProgram(A, A @ point.x + s, -A.T @ y, CONE)

    nothing_b, nothing_c = jnp.zeros_like(b), jnp.zeros_like(c)
    nearly = A.at[:, 1].set(A[:, 0] + 1e-6 * A[:, 1])
    cases = {
        "repeated rows of equalities": consistent(A.at[1].set(A[0])),
        "repeated rows of inequalities": consistent(A.at[2:5].set(A[2])),
        "zero row of an equality": consistent(A.at[0].set(0)),
        "zero rows everywhere": consistent(A.at[jnp.array([0, 3, 6, 9, 15])].set(0)),
        "zero column": consistent(A.at[:, 0].set(0)),
        "dependent columns": consistent(A.at[:, 1].set(2 * A[:, 0])),
        "nearly dependent columns": consistent(nearly),
        "no matrix": ConeProgram(0 * A, point.s, nothing_c, CONE),
        "b = 0": ConeProgram(A, nothing_b, -A.T @ point.y, CONE),
        "c = 0": ConeProgram(A, b, nothing_c, CONE),
        "b = c = 0": ConeProgram(A, nothing_b, nothing_c, CONE),
        "tiny b": consistent(A, s=1e-6 * point.s),
        "tiny c": consistent(A, y=1e-6 * point.y),
        "large slacks": consistent(A, s=1e4 * point.s),
        "large multipliers": consistent(A, y=1e4 * point.y),
        "tiny A": consistent(1e-6 * A),
        "large A": consistent(1e6 * A),
        "entries of all sizes": consistent(A * 10 ** jnp.asarray(_rng(1).uniform(-4, 4, A.shape))),
        "badly scaled": _badly_scaled(pairs[1][0], 1),
        "badly scaled otherwise": _badly_scaled(pairs[2][0], 2),
    }
    return cases


@functools.cache
def hard_cases() -> tuple[list[str], ConeProgram, Solution]:
    cases = _hard_cases()
    programs = _stack(list(cases.values()))
    return list(cases), programs, jax.device_get(solve(programs))


def test_hard_cases_are_solved_or_called_inaccurate():
    names, programs, solution = hard_cases()
    found = dict(zip(names, statuses(solution), strict=True))
    assert set(found.values()) <= {"SOLVED", "INACCURATE"}, found
    for k, name in enumerate(names):
        errors = kkt_error(instance(programs, k), instance(solution.point, k))
        assert found[name] == "INACCURATE" or max(errors.values()) < 1e-7, (name, errors)
    assert sum(status == "SOLVED" for status in found.values()) >= 17, found


@pytest.mark.parametrize("argument", ["A", "b", "c"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_values_in_one_instance_of_a_batch_harm_no_other(argument, value):
    programs, healthy = solved("all")
    bad = getattr(programs, argument).at[3].set(value)
    solution = jax.device_get(solve(eqx.tree_at(lambda p: getattr(p, argument), programs, bad)))
    assert statuses(solution)[3] == "NONFINITE"
    others = np.arange(COUNT) != 3
    for leaf, expected in zip(jax.tree.leaves(solution), jax.tree.leaves(healthy), strict=True):
        np.testing.assert_array_equal(np.asarray(leaf)[others], np.asarray(expected)[others])


def test_check_returns_what_is_solved_and_names_what_is_not():
    assert solved("all")[1].check() is solved("all")[1]
    with pytest.raises(RuntimeError, match=r"^Of 20 instances not all were solved: 10 infeasible, 10 unbounded.$"):
        impossible()[1].check()
