"""Traces, warm starts, precision, and the limits of a solve."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import LAYOUTS, instance, kkt_error, random_pairs

from fpa.accelerators import Picard, Switch
from fpa.distributions import SparseCoding
from fpa.maps import ProximalGradient
from fpa.programs import ConeProgram, Point
from fpa.solver import Solution, Solver, Status, Trace

COUNT, STEPS, TOL = 8, 20, 1e-6
LAYOUT = LAYOUTS["interleaved"]
PROGRAMS, POINTS = random_pairs(2, LAYOUT, COUNT)


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(0, None))
def traced(program: ConeProgram, steps: int) -> Trace:
    return Solver().trace(program, steps)


@eqx.filter_jit
@eqx.filter_vmap
def warm(program: ConeProgram, start: Point) -> Solution:
    return Solver().solve(program, tol=TOL, max_steps=5000, start=start)


@eqx.filter_jit
def bind(program: ConeProgram):
    return Solver().splitting.bind(program)


@functools.cache
def cold() -> Solution:
    solve = eqx.filter_jit(eqx.filter_vmap(lambda program: Solver().solve(program, tol=TOL, max_steps=5000)))
    return jax.device_get(solve(PROGRAMS))


def test_a_trace_is_what_the_map_says_at_every_iteration():
    trace, program = instance(traced(PROGRAMS, STEPS), 0), instance(PROGRAMS, 0)
    op = bind(program)
    apply, z = eqx.filter_jit(lambda z: op(z)), op.initial()
    A, b, c = (np.asarray(value) for value in (program.A, program.b, program.c))
    u = slice(0, sum(A.shape) + 1)
    first = np.linalg.norm((apply(z)[0] - z)[u])
    for k in range(STEPS):
        fz, point = apply(z)
        x, y, s = (np.asarray(value) for value in (point.x, point.y, point.s))
        assert np.isclose(trace.fixed_point[k], np.linalg.norm((fz - z)[u]) / first)
        assert np.isclose(trace.tau[k], fz[sum(A.shape)])
        assert bool(trace.valid[k]) == (fz[sum(A.shape)] > 0)
        assert np.isclose(trace.primal[k], np.linalg.norm(A @ x + s - b) / (1 + np.linalg.norm(b)))
        assert np.isclose(trace.dual[k], np.linalg.norm(A.T @ y + c) / (1 + np.linalg.norm(c)))
        gap = abs(c @ x + b @ y) / (1 + abs(c @ x) + abs(b @ y))
        assert np.isclose(trace.gap[k], gap if trace.valid[k] else 1)
        z = fz


def test_where_no_point_is_read_the_zero_point_stands_and_later_there_always_is_one():
    trace = traced(PROGRAMS, STEPS)
    none = ~np.asarray(trace.valid)
    assert none.any() and not none[:, 5:].any()
    b, c = (np.linalg.norm(value, axis=1)[np.nonzero(none)[0]] for value in (PROGRAMS.b, PROGRAMS.c))
    np.testing.assert_allclose(trace.primal[none], b / (1 + b))
    np.testing.assert_allclose(trace.dual[none], c / (1 + c))
    assert np.all(np.asarray(trace.gap)[none] == 1)
    before = np.pad(none, ((0, 0), (1, 0)))[:, :-1]
    normalized = np.asarray(trace.fixed_point_normalized)
    assert np.all(normalized[none | before] == 1) and np.all(normalized[~(none | before)] != 1)


def test_the_fixed_point_residual_starts_at_1_and_never_grows_from_one_step_to_ten_later():
    residuals = np.asarray(traced(PROGRAMS, STEPS).fixed_point)
    np.testing.assert_allclose(residuals[:, 0], 1)
    assert np.all(residuals[:, 10:] < residuals[:, :-10])


def test_a_trace_is_the_beginning_of_a_longer_one():
    for short, long in zip(*(jax.tree.leaves(traced(PROGRAMS, steps)) for steps in (STEPS, 2 * STEPS)), strict=True):
        np.testing.assert_allclose(short, long[:, :STEPS], rtol=1e-9, atol=1e-12)


def test_only_the_fixed_point_residual_is_kept_where_speed_matters():
    program = instance(PROGRAMS, 0)
    trace = Solver().trace(program, STEPS, residuals=False)
    np.testing.assert_allclose(trace.fixed_point, traced(PROGRAMS, STEPS).fixed_point[0], rtol=1e-9)
    assert all(getattr(trace, name) is None for name in ("primal", "dual", "gap", "tau", "valid"))


def _starts() -> dict[str, Point]:
    """From the solution, from near it, and from points with no residual that lie outside one of the cones."""
    rng, p = np.random.default_rng(0), POINTS
    n, m = p.x.shape[1], p.y.shape[1]
    A, b, c = (np.asarray(value) for value in (PROGRAMS.A, PROGRAMS.b, PROGRAMS.c))
    step = rng.standard_normal((COUNT, n))
    step -= c * np.sum(c * step, axis=1, keepdims=True) / np.sum(c * c, axis=1, keepdims=True)
    dual_step = np.stack([
        (np.eye(m) - M @ np.linalg.pinv(M)) @ rng.standard_normal(m) for M in np.concatenate([A, b[:, :, None]], axis=2)
    ])  # fmt: skip
    near = [value + 1e-3 * rng.standard_normal(value.shape) for value in (p.x, p.y, p.s)]
    points = {
        "exact": (p.x, p.y, p.s),
        "near": near,
        "slack outside": (p.x + step, p.y, p.s - np.einsum("kmn,kn->km", A, step)),
        "multiplier outside": (p.x, p.y + dual_step, p.s),
        "not a number": (p.x, p.y, p.s.at[:, 0].set(jnp.nan)),
    }
    return {name: eqx.filter_vmap(Point)(*map(jnp.asarray, parts)) for name, parts in points.items()}


@functools.cache
def warm_from(name: str) -> Solution:
    return jax.device_get(warm(PROGRAMS, _starts()[name]))


def test_a_solve_from_the_solution_stops_at_once():
    assert np.all(warm_from("exact").iterations == 0)
    warm_from("exact").check()


def test_a_solve_from_near_the_solution_is_shorter():
    warm_from("near").check()
    assert np.all(warm_from("near").iterations < cold().check().iterations)
    assert np.all(warm_from("near").iterations > 0)


@pytest.mark.parametrize("name", ["slack outside", "multiplier outside"])
def test_a_start_outside_the_cones_is_no_solution_though_its_residuals_vanish(name):
    start = _starts()[name]
    for k in range(COUNT):
        errors = kkt_error(instance(PROGRAMS, k), instance(start, k))
        assert max(errors["primal"], errors["dual"], errors["gap"]) < 1e-9
    solution = warm_from(name).check()
    assert np.all(solution.iterations > 0)
    for k in range(COUNT):
        assert max(kkt_error(instance(PROGRAMS, k), instance(solution.point, k)).values()) < 1e-5


def test_a_start_that_is_not_finite_is_reported():
    assert np.all(warm_from("not a number").status == Status.NONFINITE)


@pytest.mark.parametrize("accelerator", [Picard(), Switch(Picard(), 4, Picard())], ids=["plain", "switch"])
@pytest.mark.parametrize("max_steps", [0, 7])
def test_too_few_steps_end_inaccurate(accelerator, max_steps):
    program = instance(PROGRAMS, 0)
    solution = Solver(accelerator=accelerator).solve(program, tol=1e-9, max_steps=max_steps)
    assert (int(solution.status), int(solution.iterations)) == (Status.INACCURATE, max_steps)
    with pytest.raises(RuntimeError, match=r"^Of 1 instances not all were solved: 1 inaccurate\.$"):
        solution.check()


def _single(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf, tree)


def test_single_precision_programs_are_solved_in_single_precision():
    solve = eqx.filter_jit(eqx.filter_vmap(lambda program: Solver().solve(program, tol=1e-4)))
    solution = jax.device_get(solve(_single(PROGRAMS)))
    solution.check()
    assert {leaf.dtype for leaf in jax.tree.leaves((solution.point, solution.residuals))} == {np.dtype("float32")}
    for k in range(COUNT):
        assert max(kkt_error(instance(PROGRAMS, k), instance(solution.point, k)).values()) < 1e-3
    assert {leaf.dtype for leaf in jax.tree.leaves(traced(_single(PROGRAMS), STEPS))} == {
        np.dtype("float32"),
        np.dtype("bool"),
    }


@pytest.mark.parametrize(("tol", "dtype"), [(1e-15, "float64"), (0.0, "float64"), (float("nan"), "float64")])
def test_a_tolerance_that_cannot_be_resolved_is_an_error(tol, dtype):
    with pytest.raises(ValueError, match=f"tol={tol} is below what {dtype} resolves; use at least 2.2e-14"):
        Solver().solve(instance(PROGRAMS, 0), tol=tol)


def test_settings_may_be_numbers_of_numpy_and_a_start_of_lower_precision():
    program = instance(PROGRAMS, 0)
    plain, numbers = Solver().solve(program, 1e-3, 40), Solver().solve(program, np.float64(1e-3), np.int64(40))
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (plain, numbers)), strict=True))
    assert Solver().trace(program, np.int64(3), start=_single(plain.point)).tau.dtype == np.dtype("float64")


def test_by_default_the_tolerance_is_what_single_precision_resolves():
    program = _single(instance(PROGRAMS, 0))
    solution, expected = Solver().solve(program), Solver().solve(program, tol=100 * float(np.finfo(np.float32).eps))
    assert solution.status == Status.SOLVED and solution.iterations == expected.iterations


def test_where_the_cold_start_is_a_fixed_point_residuals_are_0_and_not_nan():
    family = SparseCoding(4, 6, 2, weight=1e6)
    trace = Solver(ProximalGradient()).trace(family.program(family.sample(jax.random.key(0))), 3)
    assert np.array_equal(trace.fixed_point, np.zeros(3))


def test_a_tolerance_for_double_precision_is_an_error_in_single():
    with pytest.raises(ValueError, match=r"tol=1e-06 is below what float32 resolves; use at least 1\.2e-05"):
        Solver().solve(_single(instance(PROGRAMS, 0)), tol=1e-6)


def test_impossible_numbers_of_steps_are_named():
    program = instance(PROGRAMS, 0)
    with pytest.raises(ValueError, match=r"Solver.trace: num_steps must be at least 1, got 0\."):
        Solver().trace(program, 0)
    with pytest.raises(ValueError, match=r"Solver.solve: max_steps must not be negative, got -1\."):
        Solver().solve(program, max_steps=-1)
    with pytest.raises(ValueError, match=r"Solver.run: stop must come after start, got 5 and 5\."):
        Solver().run(bind(program), jnp.zeros(1), None, 5, 5)
