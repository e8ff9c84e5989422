"""Networks and layouts: sharing weights, collapsing layers, answering in the right places."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import (
    KALMAN,
    LASSO,
    bound,
    draw,
    flat,
    intermittent,
    intermittent_sites,
    kalman_layout,
    recurrent,
    recurrent_sites,
    shapes,
    standard,
)

from fpa.accelerators import MLP, Linear, SiteNetwork, SiteTrunk, collapse
from fpa.accelerators.features import FeatureNormalizer, Normalizer, first_features, step_features
from fpa.distributions import Lasso, RobustKalman
from fpa.layouts import Layout, flat_layout, site_layout


def test_collapsed_layers_compute_the_same_function_with_fewer_numbers():
    op = bound(LASSO)
    model = intermittent(op, factors=3)
    small = collapse(model)
    count = lambda module: sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_array)))  # noqa: E731
    assert count(small) == count(intermittent(op)) < count(model)
    z, state = model.init(op)
    np.testing.assert_allclose(small.init(op)[0], z, rtol=1e-5, atol=1e-6)
    for access in model.access:
        expected, _ = model.cross(op, z, state, access)
        np.testing.assert_allclose(small.cross(op, z, state, access)[0], expected, rtol=1e-5, atol=1e-6)


def test_every_hidden_and_output_layer_has_as_many_factors_as_asked():
    mlp = MLP(jax.random.key(0), 4, 3, 5, 2, factors=3)
    assert [[f.shape for f in layer.factors] for layer in mlp.layers] == [
        [(4, 5)],
        [(5, 5)] * 3,
        [(5, 3), (3, 3), (3, 3)],
    ]


def test_weight_scaling_shrinks_the_first_answers():
    one, eight = (MLP(jax.random.key(0), 4, 3, 5, 1, weight_scaling=scaling) for scaling in (1.0, 8.0))
    x = jnp.arange(4.0)
    np.testing.assert_allclose(one(x), 8 * eight(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(jax.random.key(0), 1, 1, 1, 1, activation="sine"), "there is no activation 'sine'"),
        (lambda: MLP(jax.random.key(0), 1, 1, 1, -1), "depth must not be negative, got -1"),
        (lambda: MLP(jax.random.key(0), 1, 1, 1, 1, weight_scaling=0.0), "weight_scaling must be positive, got 0.0"),
        (lambda: Linear(jax.random.key(0), 0, 1), "must be positive, got (0, 1, 1)"),
        (lambda: Layout([np.array([[0, 0]])]), "every coordinate has to stand in exactly one place"),
        (lambda: site_layout(LASSO.canonical, [{"q": np.arange(3)}]), "no variable or parameter 'q'"),
        (lambda: site_layout(LASSO.canonical, [{"z": np.arange(2)}]), "the labels of 'z' must have its shape (3,)"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_scatter_is_the_inverse_of_gather():
    layout = kalman_layout()
    w = jnp.arange(float(layout.size))
    np.testing.assert_array_equal(layout.scatter(layout.gather(w[None])), w)
    assert flat_layout(5).gather(jnp.ones((2, 5)))[0].shape == (1, 10)


def test_time_steps_of_kalman_filtering_are_found_and_all_alike():
    """Within a step the entries of A are the same at every step, so channels mean the same."""
    steps = 7
    layout = kalman_layout(steps)
    assert [group.shape for group in layout.groups] == [(steps, 47), (1, 9)]
    family = RobustKalman(num_steps=steps)
    A = np.asarray(draw(family, 0).A)
    m, n = A.shape
    table = np.asarray(layout.groups[0])
    columns, rows = (table < n).all(axis=0), ((table >= n) & (table < n + m)).all(axis=0)
    blocks = [A[np.ix_(site[rows] - n, site[columns])] for site in table]
    assert all(np.array_equal(block, blocks[0]) for block in blocks) and np.count_nonzero(blocks[0]) > 10


def test_features_and_observations_of_the_lasso_are_found():
    family = Lasso(p=5, q=7)
    layout = site_layout(family.canonical, [{"z": np.arange(5)}, {"g": np.arange(7)}])
    assert [group.shape for group in layout.groups] == [(5, 6), (7, 2), (1, 10)]


def test_a_layout_does_not_depend_on_how_sites_are_numbered():
    family = Lasso(p=5, q=7)
    expected = site_layout(family.canonical, [{"z": np.arange(5)}, {"g": np.arange(7)}])
    layout = site_layout(family.canonical, [{"z": 10 * np.arange(5) + 3}, {"g": 7 * np.arange(7)}])
    assert all(np.array_equal(a, b) for a, b in zip(layout.groups, expected.groups, strict=True))


def _lasso_network(op, layout, seed=0):
    _, later = shapes(op, 0)
    ordered = (False,) * len(layout.groups)
    network = SiteNetwork(SiteTrunk(jax.random.key(seed), layout, standard(later), ordered, 8, 8, 2, 2))
    random = lambda head: Linear(jax.random.key(1), head.factors[0].shape[0], head.bias.shape[0])  # noqa: E731
    heads = lambda n: [group.head for group in n.trunk.groups]  # noqa: E731
    return eqx.tree_at(heads, network, [random(head) for head in heads(network)])


def test_a_constant_channel_of_a_group_has_no_spread():
    """So its input is 0 whatever rounding does to its mean; a channel whose mean varies over sites has that spread."""
    layout = kalman_layout(50)
    means = jnp.asarray(layout.scatter([jnp.broadcast_to(jnp.linspace(-1, 1, 47), (50, 47)), jnp.zeros((1, 9))]))
    steps = jnp.asarray(layout.scatter([jnp.broadcast_to(jnp.arange(50.0)[:, None], (50, 47)), jnp.zeros((1, 9))]))
    none = jnp.zeros((2, layout.size), jnp.float32)
    vectors = Normalizer(jnp.stack([means, steps]).astype(jnp.float32), none)
    scalars = Normalizer(jnp.zeros(0, jnp.float32), jnp.zeros(0, jnp.float32))
    normalizer = FeatureNormalizer(vectors, scalars, scalars)
    group = SiteTrunk(jax.random.key(0), layout, normalizer, (True, False), 8, 8, 1, 2).groups[0]
    spread = group.normalizer.scale.reshape(2, 47)
    np.testing.assert_array_equal(spread[0], 0)
    np.testing.assert_allclose(spread[1], np.arange(50).std(), rtol=1e-6)


def test_unordered_sites_may_be_permuted():
    """The features of the Lasso in another order: the same answers, in that order."""
    op = bound(Lasso(p=5, q=7))
    layout = site_layout(Lasso(p=5, q=7).canonical, [{"z": np.arange(5)}, {"g": np.arange(7)}])
    network = eqx.filter_jit(_lasso_network(op, layout))
    vectors = jax.random.normal(jax.random.key(3), (3, op.data.shape[1]))
    features, _ = step_features(op, vectors[0], vectors[1:3], jnp.zeros(0))
    w = jnp.arange(float(layout.size))
    tables = layout.gather(w[None])
    shuffled = layout.scatter([jnp.roll(tables[0], 2, axis=0), *tables[1:]]).astype(int)
    moved = eqx.tree_at(lambda f: f.vectors, features, features.vectors[:, shuffled])
    np.testing.assert_allclose(network(moved), network(features)[shuffled], rtol=1e-4, atol=1e-5)
    assert not np.allclose(network(moved), network(features), rtol=1e-2)


def test_an_untrained_site_network_is_plain_iteration():
    op, model = bound(KALMAN), intermittent_sites()
    z, state = eqx.filter_jit(model.init)(op)
    np.testing.assert_allclose(z, op.enter(jnp.zeros(op.data.shape[1]), 1.0))
    step = eqx.filter_jit(model.step)
    z, state, fz, _ = step(op, op.initial(), state)
    z, state, fz, _ = step(op, z, state)
    corrected, _ = eqx.filter_jit(model.cross)(op, fz, state, 1)
    np.testing.assert_allclose(op.coordinates(corrected), op.coordinates(fz), rtol=1e-6, atol=1e-9)


def test_step_features_are_differences_in_units_of_the_step():
    op = bound(LASSO)
    w, past = op.coordinates(op.lift(op(op(op.initial())[0])[1], 1.0)), jnp.ones((2, op.data.shape[1]))
    features, step = step_features(op, w, past.at[1].set(3.0), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(step, np.linalg.norm(w - 1), rtol=1e-6)
    np.testing.assert_allclose(features.vectors[1], (w - 1) / step, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(features.vectors[2], jnp.full(w.size, -2) / step, rtol=1e-5)
    np.testing.assert_allclose(features.vectors[3:5] * step, op.defect(w), rtol=1e-4, atol=1e-5)
    assert features.vectors.dtype == jnp.float32 and features.scalars[-1] == 1


def test_the_defect_vanishes_at_a_solution_and_only_there():
    from fpa.accelerators import AndersonAcceleration
    from fpa.solver import Solver

    program = draw(LASSO, 0)
    point = Solver(accelerator=AndersonAcceleration()).solve(program, tol=1e-10).point
    op = bound(LASSO)
    assert np.abs(op.defect(op.coordinates(op.lift(point, 3.0)))[0]).max() < 1e-8
    assert np.abs(op.defect(op.coordinates(op(op(op.initial())[0])[0]))[0]).max() > 1e-3


def test_g_init_sees_data_scales_and_context():
    op = bound(LASSO)
    features = first_features(op)
    np.testing.assert_allclose(features.vectors, op.data, rtol=1e-6)
    np.testing.assert_allclose(features.context, op.program.context, rtol=1e-6)
    assert flat(jax.random.key(0), shapes(op, 0)[0], 3)(features).shape == (3,)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_model_predicts_u_and_leaves_v_to_the_map(kind):
    op = bound(LASSO)
    model = recurrent(op, kind, tau=2.0)
    model = eqx.tree_at(lambda m: m.unit, model, model.unit.at[-op.program.b.size :].set(0))
    _, state = model.init(op)
    z_next, next_state, fz, _ = model.step(op, op(op(op.initial())[0])[0], state)
    n, m = op.program.c.size, op.program.b.size
    assert z_next[n + m] == 2.0 and next_state.shape == state.shape == model.network.cell.shape
    np.testing.assert_allclose(op.coordinates(z_next)[n + m :], op.coordinates(fz)[n + m :], rtol=1e-6, atol=1e-9)
    assert not np.allclose(op.coordinates(z_next)[: n + m], op.coordinates(fz)[: n + m])


def test_an_untrained_recurrent_model_over_sites_is_plain_iteration():
    op, model = bound(KALMAN), recurrent_sites()
    z, state = model.init(op)
    plain = op.initial()
    step, apply = eqx.filter_jit(model.step), eqx.filter_jit(op)
    for _ in range(4):
        z, state, _, _ = step(op, z, state)
        plain = apply(plain)[0]
        np.testing.assert_allclose(op.coordinates(z), op.coordinates(plain), rtol=1e-6, atol=1e-9)
