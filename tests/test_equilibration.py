"""Equilibration is a change of coordinates: it changes numbers, never the program."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import LAYOUTS, blocks, instance, outside, over, random_programs

from fpa.cones import NonNegative, Zero
from fpa.equilibration import Scaled, equilibrate
from fpa.matrices import Dense
from fpa.programs import ConeProgram, Point

_COUNT = 4
SOME = {name: LAYOUTS[name] for name in ("linear", "interleaved", "all", "wide")}


class Case(eqx.Module):
    """A batch of programs, equilibrated, and a point there and back."""

    program: ConeProgram
    scaled: Scaled
    point: Point
    there: Point
    back: Point


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(0, 0, None))
def _case(program: ConeProgram, z, passes: int) -> Case:
    x, v = jnp.split(z, (program.c.size,))
    point = Point(x, program.cone.project_dual(-v), program.cone.project(v))
    scaled = equilibrate(program, passes)
    there = scaled.equilibration.apply(point)
    return Case(program, scaled, point, there, scaled.equilibration.invert(there))


def case_of(program: ConeProgram, passes: int = 10) -> Case:
    """With points whose slack and dual lie in their cones."""
    z = np.random.default_rng(0).standard_normal((_COUNT, program.c.shape[-1] + program.b.shape[-1]))
    return jax.device_get(_case(program, z, passes))


@functools.cache
def badly_scaled(layout) -> Case:
    """Rows and columns of sizes from 1e-2 to 1e2; blocks of a cone that couples its entries have one size each."""
    program, rng = jax.device_get(random_programs(0, layout, _COUNT)), np.random.default_rng(1)
    rows, cols = (10 ** rng.uniform(-2, 2, (_COUNT, size)) for size in (layout[0].dim, layout[1]))
    for part, owned in blocks(layout[0]):
        if not isinstance(part, Zero | NonNegative):
            rows[:, owned] = rows[:, owned[:1]]
    A = rows[:, :, None] * program.A * cols[:, None, :]
    return case_of(eqx.tree_at(lambda p: (p.A, p.b, p.c), program, (A, rows * program.b, cols * program.c)))


@over("layout", SOME)
def test_points_go_there_and_back(layout):
    case = badly_scaled(layout)
    for ours, theirs in zip(jax.tree.leaves(case.back), jax.tree.leaves(case.point), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@over("layout", SOME)
def test_data_are_scaled_as_the_equilibration_says(layout):
    case = badly_scaled(layout)
    program, scaled, e = case.program, case.scaled, case.scaled.equilibration
    np.testing.assert_allclose(scaled.A.values, e.D[:, :, None] * program.A * e.E[:, None, :], rtol=1e-12)
    np.testing.assert_allclose(scaled.b, e.sigma[:, None] * e.D * program.b, rtol=1e-12)
    np.testing.assert_allclose(scaled.c, e.rho[:, None] * e.E * program.c, rtol=1e-12)
    assert all(np.all(value > 0) for value in (e.D, e.E, e.sigma, e.rho))


@over("layout", SOME)
def test_residuals_are_scaled_and_so_a_solution_stays_one(layout):
    case = badly_scaled(layout)
    for i in range(_COUNT):
        A, b, c, x, y, s = (np.asarray(leaf[i]) for leaf in _data(case.program, case.point))
        A_, b_, c_, x_, y_, s_ = (np.asarray(leaf[i]) for leaf in _data(case.scaled, case.there))
        e = instance(case.scaled.equilibration, i)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
        close((A_ @ x_ + s_ - b_) / e.sigma, e.D * (A @ x + s - b))
        close((A_.T @ y_ + c_) / e.rho, e.E * (A.T @ y + c))
        close((c_ @ x_ + b_ @ y_) / (e.sigma * e.rho), c @ x + b @ y)
        close(s_ @ y_ / (e.sigma * e.rho), s @ y)


def _data(program, point: Point) -> tuple:
    A = program.A.values if isinstance(program.A, Dense) else program.A
    return A, program.b, program.c, point.x, point.y, point.s


@over("layout", SOME)
def test_cones_are_kept(layout):
    """Slack and dual stay in their cones, because D is constant within each that couples its entries."""
    case, cone = badly_scaled(layout), layout[0]
    for s, y in zip(case.there.s, case.there.y, strict=True):
        assert outside(cone, s) <= 1e-12 * (1 + np.abs(s).max())
        assert outside(cone, y, dual=True) <= 1e-12 * (1 + np.abs(y).max())
    for part, rows in blocks(cone):
        if not isinstance(part, Zero | NonNegative):
            assert np.ptp(case.scaled.equilibration.D[:, rows], axis=1).max() == 0


def test_rows_and_columns_of_separable_cones_end_near_one():
    case = badly_scaled(SOME["linear"])
    before, after = np.abs(case.program.A), np.abs(case.scaled.A.values)
    for axis in (1, 2):
        assert np.ptp(np.log10(before.max(axis=axis))) > 1
        np.testing.assert_allclose(after.max(axis=axis), 1, atol=0.02)


@over("layout", SOME)
def test_right_hand_sides_end_at_the_mean_length_of_columns_and_rows(layout):
    scaled = badly_scaled(layout).scaled
    lengths = [np.linalg.norm(scaled.A.values, axis=axis).mean(axis=1) for axis in (1, 2)]
    np.testing.assert_allclose(np.linalg.norm(scaled.b, axis=1), lengths[0], rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(scaled.c, axis=1), lengths[1], rtol=1e-10)


def test_the_matrix_depends_on_no_right_hand_side():
    """The scalars of b and c are apart, so a fixed A has one equilibration and one factorisation."""
    case = badly_scaled(SOME["linear"])
    other = case_of(eqx.tree_at(lambda p: (p.b, p.c), case.program, (7 - 3 * case.program.b, 100 * case.program.c)))
    np.testing.assert_array_equal(case.scaled.A.values, other.scaled.A.values)
    np.testing.assert_array_equal(case.scaled.equilibration.D, other.scaled.equilibration.D)
    np.testing.assert_array_equal(case.scaled.equilibration.E, other.scaled.equilibration.E)
    assert not np.allclose(case.scaled.equilibration.rho, other.scaled.equilibration.rho)


def _empty_row(p):
    return eqx.tree_at(lambda p: p.A, p, p.A * (np.arange(p.A.shape[1]) != 2)[:, None])


def _empty_column(p):
    return eqx.tree_at(lambda p: p.A, p, p.A * (np.arange(p.A.shape[2]) != 1))


HARD = {
    "empty row": _empty_row,
    "empty column": _empty_column,
    "A = 0": lambda p: eqx.tree_at(lambda p: p.A, p, 0 * p.A),
    "b = 0": lambda p: eqx.tree_at(lambda p: p.b, p, 0 * p.b),
    "c = 0": lambda p: eqx.tree_at(lambda p: p.c, p, 0 * p.c),
    "huge": lambda p: eqx.tree_at(lambda p: (p.A, p.b), p, (1e12 * p.A, 1e-12 * p.b)),
    "tiny": lambda p: eqx.tree_at(lambda p: (p.A, p.c), p, (1e-12 * p.A, 1e12 * p.c)),
}


@pytest.mark.parametrize("name", HARD)
def test_degenerate_data_break_nothing(name):
    case = case_of(HARD[name](badly_scaled(SOME["linear"]).program))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((case.scaled, case.there)))
    e = case.scaled.equilibration
    assert all(np.all(value > 0) for value in (e.D, e.E, e.sigma, e.rho))
    np.testing.assert_allclose(case.back.x, case.point.x, rtol=1e-12)
    np.testing.assert_allclose(case.back.y, case.point.y, rtol=1e-12)


@pytest.mark.parametrize("name", ["empty row", "empty column"])
def test_empty_lines_are_not_scaled(name):
    e = case_of(HARD[name](badly_scaled(SOME["linear"]).program)).scaled.equilibration
    assert np.all((e.D[:, 2] if name == "empty row" else e.E[:, 1]) == 1)


def test_no_passes_is_no_change():
    case = case_of(badly_scaled(SOME["linear"]).program, passes=0)
    np.testing.assert_array_equal(case.scaled.A.values, case.program.A)
    np.testing.assert_array_equal(case.there.x, case.point.x)
    np.testing.assert_array_equal(case.there.y, case.point.y)
    np.testing.assert_array_equal(case.scaled.b, case.program.b)
