"""Regression on examples that are computed once, and the dense network of families with a fixed matrix."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fpa
from fpa.accelerators import Correction, GatedNetwork, Initializer, Intermittent
from fpa.accelerators.features import FeatureNormalizer, Features, first_features
from fpa.training import LastAccess, Regression, advance, calibrate, calibrate_access, draw_pool, stack
from fpa.training.examples import access_examples, first_examples, regress

FAMILY = fpa.FixedLasso.draw(fpa.Lasso(3, 5), jax.random.key(1), "F")
EXACT = fpa.Solver(accelerator=fpa.AndersonAcceleration(memory=10, kind="II"))
REGRESSION = Regression(EXACT, log=False)
SEEN, LATER = (0, 1), (0, 1, 4)


@pytest.fixture(scope="module")
def family():
    """A pool of the family, what its instances look like, and an untrained initializer."""
    pool = draw_pool(FAMILY, REGRESSION, fpa.role_key(0, "train"), size=24, chunk=12)
    calibration = calibrate(fpa.SCS(), FAMILY, fpa.role_key(1, "train"), EXACT, num_instances=20)
    network = GatedNetwork(jax.random.key(0), calibration.first, SEEN, 8, 8, 1)
    return pool, calibration, Initializer(network, calibration.solutions, calibration.tau)


def _intermittent(calibration, initializer, networks=(), access=()):
    units = jnp.tile(calibration.unit, (len(networks), 1))
    return Intermittent(initializer, Correction(networks, units, calibration.tau, len(access)), access)


def _random(network, key=3):
    decode = jax.random.normal(jax.random.key(key), network.decode.factors[0].shape)
    return eqx.tree_at(lambda n: n.decode.factors[0], network, 0.1 * decode)


def _distances(examples, network):
    answer = jax.jit(jax.vmap(network))(examples.features)
    return jnp.linalg.norm(examples.origin + examples.unit * answer - examples.solution, axis=1)


def test_the_first_examples_measure_what_the_initializer_predicts(family):
    pool, calibration, initializer = family
    network = _random(initializer.network)
    examples = first_examples(fpa.SCS(), FAMILY, pool, initializer)
    solver = fpa.Solver(fpa.SCS(), _intermittent(calibration, eqx.tree_at(lambda i: i.network, initializer, network)))
    one = lambda p, target: REGRESSION.terms(solver, FAMILY.program(p), target)[0]  # noqa: E731
    expected = jax.jit(jax.vmap(one))(pool.parameters, pool.targets)
    np.testing.assert_allclose(_distances(examples, network), expected, rtol=1e-4)


def test_the_examples_of_an_access_measure_what_it_corrects(family):
    pool, calibration, initializer = family
    before = fpa.Solver(fpa.SCS(), stack([_intermittent(calibration, initializer)]))
    pool = advance(before, FAMILY, pool, 0, 3)
    seen, _ = calibrate_access(fpa.SCS(), FAMILY, pool, 20)
    network = _random(GatedNetwork(jax.random.key(2), fpa.member(seen, 0), LATER, 8, 8, 1))
    examples = access_examples(fpa.SCS(), FAMILY, pool, calibration.unit)
    solver = fpa.Solver(fpa.SCS(), _intermittent(calibration, initializer, (network,), (3,)))
    starts = jax.tree.map(lambda leaf: leaf[0], pool.starts)
    one = lambda p, target: LastAccess(REGRESSION).terms(solver, FAMILY.program(p), target)[0]  # noqa: E731
    expected = jax.jit(jax.vmap(one))(pool.parameters, (pool.targets, starts))
    np.testing.assert_allclose(_distances(examples, network), expected, rtol=1e-3)


def test_regression_brings_the_loss_down_and_is_the_same_twice(family):
    pool, _, initializer = family
    examples = first_examples(fpa.SCS(), FAMILY, pool, initializer)
    options = {"num_updates": 300, "batch_size": 8, "optimizer": optax.adam(1e-2)}
    (first, losses), (second, _) = (
        regress(initializer.network, examples, 1.0, jax.random.key(0), **options) for _ in range(2)
    )
    assert losses.shape == (300,) and losses[-20:].mean() < 0.5 * losses[:5].mean()
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    np.testing.assert_allclose(_distances(examples, first).mean(), losses[-50:].mean(), rtol=0.3)


def test_weights_say_what_counts(family):
    pool, _, initializer = family
    examples = first_examples(fpa.SCS(), FAMILY, pool, initializer)
    options = {"num_updates": 1, "batch_size": 8, "optimizer": optax.sgd(0.0)}
    one, two = (regress(initializer.network, examples, w, jax.random.key(0), **options)[1] for w in (1.0, 2.0))
    np.testing.assert_allclose(2 * one, two, rtol=1e-5)


def test_instances_that_are_not_finite_are_left_out(family):
    pool, _, initializer = family
    spoilt = pool.parameters | {"g": pool.parameters["g"].at[5].set(jnp.nan)}
    examples = first_examples(fpa.SCS(), FAMILY, dataclasses.replace(pool, parameters=spoilt), initializer)
    assert examples.origin.shape[0] == pool.size - 1
    with pytest.raises(ValueError, match="no instance of the pool is finite"):
        none = {name: jnp.nan * value for name, value in spoilt.items()}
        first_examples(fpa.SCS(), FAMILY, dataclasses.replace(pool, parameters=none), initializer)


def test_a_loss_that_is_not_finite_stops_training(family):
    pool, _, initializer = family
    examples = first_examples(fpa.SCS(), FAMILY, pool, initializer)
    with pytest.raises(FloatingPointError, match="not finite within updates 0 to 20"):
        regress(
            initializer.network,
            examples,
            1.0,
            jax.random.key(0),
            num_updates=20,
            batch_size=4,
            optimizer=optax.sgd(1e30),
        )


def test_a_gated_network_is_zero_at_first_and_linear_where_its_gates_stand(family):
    """With gates that do not depend on the code it is an affine map."""
    _, _, initializer = family
    op = fpa.SCS().bind(FAMILY.program(FAMILY.sample(jax.random.key(5))))
    network, features = initializer.network, first_features(op)
    np.testing.assert_array_equal(network(features), 0)
    fixed = eqx.tree_at(
        lambda n: (n.gate.factors[0], n.gate.bias),
        _random(network),
        (0 * network.gate.factors[0], 1 + network.gate.bias),
    )
    along = jax.tree.map(lambda leaf: leaf + 0.1, features)
    middle = jax.tree.map(lambda a, b: (a + b) / 2, features, along)
    np.testing.assert_allclose(2 * fixed(middle), fixed(features) + fixed(along), rtol=1e-4, atol=1e-6)


def test_a_gated_network_reads_only_what_it_is_told(family):
    _, calibration, _ = family
    later = calibration.later
    network = _random(GatedNetwork(jax.random.key(0), later, LATER, 8, 8, 1))
    parts = [getattr(later, part) for part in ("vectors", "scalars", "context")]
    vectors, scalars, context = (
        part.mean + 0.5 * part.scale * jax.random.normal(jax.random.key(i), part.mean.shape)
        for i, part in enumerate(parts)
    )
    spread = jnp.where(later.vectors.scale > 0, later.vectors.scale, 1)
    answer = network(Features(vectors, scalars, context))
    assert isinstance(later, FeatureNormalizer) and answer.shape == vectors.shape[1:] and answer.any()
    for row in range(vectors.shape[0]):
        changed = network(Features(vectors.at[row].add(spread[row]), scalars, context))
        assert np.array_equal(changed, answer) == (row not in LATER)
    spread = jnp.where(later.scalars.scale > 0, later.scalars.scale, 1)
    for scalar in range(scalars.size):
        for distance in (-20.0, 20.0):
            far = scalars.at[scalar].add(distance * spread[scalar])
            assert not network(Features(vectors, far, context)).any()
