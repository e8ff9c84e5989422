"""The families between Lasso and Kalman filtering: what is fixed is fixed, and what moves moves as stated."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import solve_scs

from fpa.distributions import DynamicLasso, FixedLasso, Lasso, sample_batch
from fpa.distributions.dynamic_lasso import dynamic_lasso_problem
from fpa.distributions.lasso import parts_of_lasso
from fpa.study.sizes import PAPER_TABLE_2, sizes
from fpa.training import stack

LASSO = Lasso(5, 8, density=0.4, noise=0.3)
KEY = jax.random.key(0)
SOURCE = jax.random.normal(KEY, (8, 5))


def test_with_nothing_fixed_it_is_the_lasso_bit_for_bit():
    drawn, expected = FixedLasso(5, 8, 0.4, 0.3).sample(KEY), LASSO.sample(KEY)
    assert drawn.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(drawn[name], value)


@pytest.mark.parametrize("part", ["F", "z", "w"])
def test_a_part_is_fixed_and_the_others_vary(part):
    """Read back by least squares: g - F z is noise w."""
    family = FixedLasso.draw(LASSO, KEY, part)
    assert [name for name in "Fzw" if getattr(family, name) is not None] == [part]
    batch = jax.device_get(sample_batch(family, jax.random.key(1), 200))
    F = np.broadcast_to(family.F, (200, 8, 5)) if part == "F" else batch["F"]
    g, noise = batch["g"], family.noise
    np.testing.assert_allclose(batch["mu"], 0.1 * np.abs(np.einsum("iqp,iq->ip", F, g)).max(axis=1), rtol=1e-12)
    if part == "w":
        truth = np.stack([np.linalg.lstsq(f, y - noise * np.asarray(family.w))[0] for f, y in zip(F, g, strict=True)])
        np.testing.assert_allclose(np.einsum("iqp,ip->iq", F, truth) + noise * family.w, g, atol=1e-10)
        assert truth.std(axis=0).min() > 0.1
    if part == "z":
        left = g - F @ np.asarray(family.z)
        assert abs(left.std() / noise - 1) < 0.1 and left.std(axis=0).min() > 0.1 * noise
    if part == "F":
        assert "F" not in family.canonical.shapes and g.std(axis=0).min() > 0.1


def test_a_fixed_source_makes_a_fixed_matrix():
    family = FixedLasso.draw(LASSO, KEY, "F")
    batch = sample_batch(family, KEY, 3)
    free = jax.vmap(lambda p: LASSO.program({"F": family.F} | p))(batch)
    A = jax.vmap(lambda p: family.program(p).A, out_axes=None)(batch)  # an error if it carried the batch axis
    np.testing.assert_allclose(np.broadcast_to(A, free.A.shape), free.A, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(family.program)(batch).b, free.b, atol=1e-12)
    assert family.context(jax.tree.map(lambda x: x[0], batch)).shape == (9,)


def test_datasets_differ_in_arrays_alone():
    """So that what was compiled for one serves all."""
    first, second = (FixedLasso.draw(LASSO, jax.random.key(seed), "F") for seed in (1, 2))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert not np.allclose(first.canonical.A.base, second.canonical.A.base)


@pytest.mark.parametrize("make", [functools.partial(Lasso, 5, 8), functools.partial(DynamicLasso, SOURCE, 2)])
def test_so_do_families_of_other_density_or_noise(make):
    first, second = make(0.4, 0.3), make(0.8, 0.01)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    both = stack([first, second])
    axes = jax.tree.map(lambda leaf: 0 if eqx.is_inexact_array(leaf) else None, both)
    drawn = jax.vmap(lambda family: family.sample(KEY)["g"], in_axes=(axes,))(both)
    for family, g in zip((first, second), drawn, strict=True):
        np.testing.assert_allclose(g, family.sample(KEY)["g"], rtol=1e-12)


@pytest.mark.parametrize(("density", "zeros"), [(0.0, 10), (0.1, 9), (0.25, 7), (0.3, 7), (0.7, 3), (0.8, 2), (1.0, 0)])
def test_the_share_of_zeros_is_exact_in_either_precision(density, zeros):
    """The share of zeros is 1 - density, rounded down, whatever rounding does to the density."""
    for dtype in (np.float32, np.float64):
        _, z, _ = parts_of_lasso(KEY, 10, 20, jnp.asarray(density, dtype))
        assert np.sum(z == 0) == zeros


@pytest.mark.parametrize("masked", [False, True])
def test_the_dynamic_truth_moves_where_it_is_not_zero(masked):
    family = DynamicLasso(SOURCE, steps=3, density=0.4, noise=0.0, delta=0.2, masked=masked)
    batch = jax.device_get(sample_batch(family, KEY, 20))
    truth = np.linalg.lstsq(np.asarray(SOURCE), batch["g"].reshape(-1, 8).T)[0].T.reshape(20, 3, 5)
    support = np.abs(truth[:, 0]) > 1e-9
    assert np.all(support.sum(axis=1) == 2)
    np.testing.assert_allclose(np.diff(truth, axis=1), np.repeat(0.2 * support[:, None], 2, axis=1), atol=1e-9)
    if masked:
        np.testing.assert_array_equal(batch["support"], support)


@pytest.mark.parametrize("masked", [False, True])
def test_the_dynamic_program_lets_all_coordinates_move_or_those_that_do(masked):
    """With strong dynamics (beta = 0) states differ by delta exactly."""
    family = DynamicLasso(SOURCE, steps=2, density=0.4, delta=0.3, beta=0.0, masked=masked)
    parameters = family.sample(KEY)
    program = family.program(parameters)
    point, status = solve_scs(program)
    assert status == "solved"
    z = np.asarray(family.recover(point)["z"]).reshape(2, 5)
    moved = np.asarray(parameters["support"]) if masked else np.ones(5)
    np.testing.assert_allclose(z[1] - z[0], 0.3 * moved, atol=1e-6)


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_dynamic_sizes_are_the_papers(steps, masked):
    found = sizes(dynamic_lasso_problem(10, 20, steps, 0.1, 0.005, masked))
    assert found == PAPER_TABLE_2[f"dynamic Lasso ({steps}-step)"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedLasso(3, 4, F=jnp.ones((3, 4))), r"FixedLasso: F must have shape \(4, 3\), got \(3, 4\)"),
        (lambda: FixedLasso(3, 4, z=jnp.full(3, jnp.nan)), r"FixedLasso: z is not finite"),
        (lambda: FixedLasso.draw(LASSO, KEY, "G"), r"the parts are F, z and w, got \['G'\]"),
        (lambda: DynamicLasso(jnp.ones(3)), r"DynamicLasso: F must be a finite q x p matrix, got shape \(3,\)"),
        (lambda: DynamicLasso(SOURCE, steps=1), r"DynamicLasso: steps must be at least 2, got 1"),
        (lambda: DynamicLasso(SOURCE, density=2.0), r"DynamicLasso: density must lie in \[0, 1\], got 2.0"),
        (lambda: DynamicLasso(SOURCE, beta=-1.0), r"DynamicLasso: beta must not be negative, got -1.0"),
    ],
)
def test_bad_families_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
