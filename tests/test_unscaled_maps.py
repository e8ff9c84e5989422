"""Laws of the splittings whose iterates have no scale: Douglas-Rachford, proximal gradient, subgradient."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from composites import PROGRAMS
from helpers import LAYOUTS, over, random_pairs

from fpa.maps import ConstantMetric, DouglasRachford, ProximalGradient, Subgradient
from fpa.training.pools import cast

CONES = random_pairs(2, LAYOUTS["all"], 3)
SPLITTINGS = {
    "identity": DouglasRachford(),
    "metric": DouglasRachford(ConstantMetric(2.0, 0.4)),
    "relaxed": DouglasRachford(relaxation=1.4),
}
FIRST_ORDER = {"proximal-gradient": ProximalGradient(), "subgradient": Subgradient()}
COMPOSITE = PROGRAMS["least-squares-wide-l1"]


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(None, 0, 0))
def _at(splitting, program, point):
    op = splitting.bind(program)
    z = op.lift(point, 1.0)
    return z, *op(z), op.enter(op.coordinates(z), 1.0)


@over("splitting", SPLITTINGS)
def test_a_lifted_solution_of_mixed_cones_is_a_fixed_point_and_is_read_back(splitting):
    z, fz, point, _ = _at(splitting, *CONES)
    np.testing.assert_allclose(fz, z, atol=1e-8)
    for found, expected in zip(jax.tree.leaves(point), jax.tree.leaves(CONES[1]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@over("splitting", SPLITTINGS)
def test_cone_programs_keep_their_precision_and_entering_undoes_coordinates(splitting, dtype):
    z, fz, point, entered = _at(splitting, *cast(CONES, dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves((z, fz, point))} == {jnp.dtype(dtype)}
    np.testing.assert_array_equal(entered, z)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@over("splitting", FIRST_ORDER)
def test_composite_programs_keep_their_precision(splitting, dtype):
    op = splitting.bind(cast(jax.tree.map(jnp.asarray, COMPOSITE), dtype))
    fz, point = op(op.initial())
    assert {leaf.dtype for leaf in jax.tree.leaves((fz, point))} == {jnp.dtype(dtype)}
    np.testing.assert_array_equal(op.enter(op.coordinates(fz), 1.0), fz)
