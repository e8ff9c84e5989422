"""Rule (18): its special cases, its variants, its training in segments."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import draw

import fpa
from fpa.accelerators import learned_descent, rnnprop
from fpa.accelerators.preconditioned_momentum import VARIANTS, Coefficients, advance, neutral
from fpa.training import fit_segments

FAMILY = fpa.SparseCoding(8, 12, 3)
PROGRAM = draw(FAMILY, 1)
PG = fpa.ProximalGradient()
OP = PG.bind(PROGRAM)
ZERO = jnp.zeros(12)
METHODS = {
    "PA": lambda key: fpa.Solver(PG, fpa.preconditioned_momentum(key, units=5)),
    "DM": lambda key: fpa.Solver(fpa.Subgradient(), learned_descent(key, units=5)),
    "RNNprop": lambda key: fpa.Solver(fpa.Subgradient(), rnnprop(key, units=5)),
}


def arrays(solver):
    return jax.tree.leaves(eqx.filter(solver.accelerator, eqx.is_array))


def by_rule(coefficients, steps, balanced=False):
    x = y = ZERO
    found = []
    for k in range(steps):
        x, y, _ = advance(OP, x, y, OP.gradient(y), coefficients(k), balanced)
        found.append(np.asarray(x))
    return np.array(found)


def by(accelerator, steps, op=OP):
    z, state = accelerator.init(op)
    found = []
    for _ in range(steps):
        z, state, _, point = accelerator.step(op, z, state)
        found.append(np.asarray(point.x))
    return np.array(found)


@pytest.mark.parametrize("balanced", [False, True])
def test_with_nesterovs_sequence_the_rule_is_fista(balanced):
    t = [1.0]
    for _ in range(30):
        t.append((1 + np.sqrt(1 + 4 * t[-1] ** 2)) / 2)
    usual = neutral(OP.p)
    rule = lambda k: eqx.tree_at(lambda c: c.a, usual, ZERO + (t[k] - 1) / t[k + 1])  # noqa: E731
    np.testing.assert_allclose(by_rule(rule, 30, balanced), by(fpa.Nesterov(), 30), atol=1e-13)


def test_without_momentum_the_rule_is_the_variable_metric_proximal_gradient_method():
    p = [OP.p * jax.random.uniform(jax.random.key(k), (12,), minval=0.1, maxval=1.9) for k in range(20)]
    x, expected = ZERO, []
    for step in p:
        v = x - step * PROGRAM.smooth.gradient(x)
        x = jnp.sign(v) * jnp.maximum(jnp.abs(v) - 0.1 * step, 0)
        expected.append(np.asarray(x))
    np.testing.assert_allclose(by_rule(lambda k: neutral(p[k]), 20), expected, atol=1e-13)


def test_balance_and_biases_are_those_of_the_rule():
    x, y, p, a, b, b1, b2 = (jax.random.uniform(jax.random.key(k), (12,)) for k in range(7))
    p = p * OP.p
    v = (1 - b) * (x - p * OP.gradient(x)) + b * (y - p * OP.gradient(y)) - b1
    expected = jnp.sign(v) * jnp.maximum(jnp.abs(v) - 0.1 * p, 0)
    x_next, y_next, point = advance(OP, x, y, OP.gradient(y), Coefficients(p, a, b, b1, b2), True)
    np.testing.assert_allclose(x_next, expected, atol=1e-14)
    np.testing.assert_allclose(y_next, expected + a * (expected - x) + b2, atol=1e-14)
    np.testing.assert_array_equal(point.x, x_next)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("positive", [True, False])
def test_what_is_not_learned_is_neutral_and_what_is_keeps_its_range(variant, bounded, positive):
    model = fpa.preconditioned_momentum(jax.random.key(0), variant, 5, bounded=bounded, positive=positive)
    answers = 5 * jax.random.normal(jax.random.key(1), (12, 5))
    found, usual = model.coefficients(OP.p, answers), neutral(OP.p)
    for name in ("p", "a", "b", "b1", "b2"):
        value = np.asarray(getattr(found, name))
        if name not in VARIANTS[variant]:
            np.testing.assert_array_equal(value, getattr(usual, name))
        elif name in ("b1", "b2") and not positive:
            assert value.min() < 0 < value.max()
        else:
            assert value.min() > 0
            limit = 2 * (np.asarray(OP.p) if name == "p" else 1)
            assert np.all(value < limit) == (bounded or name not in ("p", "a")) or not bounded


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_costs_one_gradient_and_two_with_balance(variant):
    model = fpa.preconditioned_momentum(jax.random.key(0), variant, 5)
    z, state = model.init(OP)
    text = str(jax.make_jaxpr(lambda z: model.step(OP, z, state)[0])(z))
    products = text.count(" dot_general") - str(jax.make_jaxpr(lambda z: network_alone(model, z, state))(z)).count(
        " dot_general"
    )
    assert products == 2 * (2 if "b" in VARIANTS[variant] else 1)


def network_alone(model, z, state):
    return model.network(jnp.stack([z, z], axis=1), state.hidden)[0]


def test_all_variants_are_an_ensemble_whose_members_are_the_variants():
    models = [fpa.preconditioned_momentum(jax.random.key(0), variant, 5, balanced=True) for variant in VARIANTS]
    together = fpa.stack([fpa.Solver(PG, model) for model in models])
    run = eqx.filter_jit(lambda solver: solver.run(OP, *solver.accelerator.init(OP), 0, 5)[0])
    for index, variant in enumerate(VARIANTS):
        alone = fpa.preconditioned_momentum(jax.random.key(0), variant, 5)
        np.testing.assert_allclose(run(fpa.member(together, index)), run(fpa.Solver(PG, alone)), atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_one_model_runs_on_any_size_and_repeats_itself(name):
    solver = METHODS[name](jax.random.key(0))
    for n in (12, 30):
        family = fpa.SparseCoding(8, n, 3)
        program = draw(family, 2)
        one, two = (solver.trace(program, 5) for _ in range(2))
        assert np.isfinite(one.fixed_point).all()
        np.testing.assert_array_equal(one.fixed_point, two.fixed_point)


def test_every_coordinate_of_every_instance_has_a_state_of_its_own():
    model = fpa.preconditioned_momentum(jax.random.key(0), units=5)
    states = [model.init(PG.bind(draw(FAMILY, k)))[1].hidden for k in range(2)]
    together = np.concatenate([state.reshape(12, -1) for state in states])
    assert len(np.unique(together)) == together.size
    assert 0.7 < together.std() < 1.3


@pytest.mark.parametrize("name", METHODS)
def test_training_in_segments_lowers_the_objective_and_repeats_itself(name):
    ensemble = fpa.stack([METHODS[name](jax.random.key(k)) for k in range(2)])
    options = {"num_batches": 8, "batch_size": 4, "optimizer": optax.adam(1e-2), "segments": 3, "length": 4}
    ends = [fit_segments(ensemble, FAMILY, jax.random.key(0), **options) for _ in range(2)]
    for one, two in zip(arrays(ends[0][0]), arrays(ends[1][0]), strict=True):
        np.testing.assert_array_equal(one, two)
    validation = fpa.MeanValue(fpa.role_key(0, "validation"), num_instances=16, num_steps=12)
    before, after = (validation.score(solvers, FAMILY, jnp.float32) for solvers in (ensemble, ends[0][0]))
    assert np.all(after < before)
    assert len(ends[0][1].losses) == 8


def test_segments_are_updates_from_iterates_that_carry_no_gradient():
    """Two segments by hand, each with the weights that the one before has left."""
    solver = METHODS["PA"](jax.random.key(0))
    rate, key = 1e-3, jax.random.key(3)
    options = {"num_batches": 1, "batch_size": 1, "optimizer": optax.sgd(rate), "segments": 2, "length": 3}
    trained, _ = fit_segments(fpa.stack([solver]), FAMILY, key, dtype=jnp.float64, **options)
    (batch_key,) = jax.random.split(jax.random.fold_in(key, 0), 1)
    parameters = jax.tree.map(lambda leaf: leaf[0], fpa.sample_batch(FAMILY, batch_key, 1))
    op = PG.bind(FAMILY.program(parameters))
    z, state = solver.accelerator.init(op)
    for _ in range(2):

        def loss(accelerator, z=z, state=state):
            total = 0.0
            for _ in range(3):
                z, state, _, point = accelerator.step(op, z, state)
                total = total + op.program.value(point.x) / 3
            return total, (z, state)

        gradient, (z, state) = eqx.filter_jit(eqx.filter_grad(loss, has_aux=True))(solver.accelerator)
        moved = eqx.apply_updates(solver.accelerator, jax.tree.map(lambda g: -rate * g, gradient))
        solver = eqx.tree_at(lambda s: s.accelerator, solver, moved)
    for ours, expected in zip(arrays(fpa.member(trained, 0)), arrays(solver), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    ensemble = fpa.stack([METHODS["PA"](jax.random.key(0))])
    options = {"batch_size": 2, "optimizer": optax.adam(1e-2), "segments": 2, "length": 2, "num_batches": 4}
    whole, _ = fit_segments(ensemble, FAMILY, jax.random.key(0), **options)

    class Killed(Exception):
        pass

    class Killer(fpa.training.AbstractValidation):
        every, armed, scored = 2, True, 0

        def score(self, ensemble, distribution, dtype):
            if Killer.armed:
                raise Killed
            Killer.scored += 1
            return jnp.full((1,), -Killer.scored)

    path = tmp_path / "run"
    with pytest.raises(Killed):
        fit_segments(ensemble, FAMILY, jax.random.key(0), checkpoint=path, validation=Killer(), **options)
    Killer.armed = False
    with pytest.raises(ValueError, match="belongs to another training run"):
        fit_segments(ensemble, FAMILY, jax.random.key(0), checkpoint=path, **options)
    resumed, history = fit_segments(
        ensemble, FAMILY, jax.random.key(0), checkpoint=path, validation=Killer(), **options
    )
    assert len(history.losses) == 4 and history.scored == [2, 4]
    for one, two in zip(arrays(whole), arrays(resumed), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_saved_model_is_the_same(tmp_path):
    solver = METHODS["PA"](jax.random.key(0))
    fpa.save(tmp_path / "model.npz", solver, FAMILY)
    loaded = fpa.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.trace(PROGRAM, 5).fixed_point, solver.trace(PROGRAM, 5).fixed_point)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fpa.preconditioned_momentum(jax.random.key(0), "PX"), "there is no variant 'PX'; there are PBA12"),
        (
            lambda: fpa.PreconditionedMomentum(learned_descent(jax.random.key(0)).network, jnp.ones(5), jnp.ones(())),
            "the network has to give 5 answers per coordinate, it gives 1.",
        ),
        (
            lambda: METHODS["PA"](jax.random.key(0)).accelerator.init(fpa.Subgradient().bind(PROGRAM)),
            "PreconditionedMomentum needs a map that takes a metric, not SubgradientMap.",
        ),
        (
            lambda: fit_segments(
                fpa.stack([METHODS["PA"](jax.random.key(0))]),
                FAMILY,
                jax.random.key(0),
                num_batches=0,
                batch_size=1,
                optimizer=optax.adam(1e-2),
            ),
            "fit_segments: num_batches must be at least 1, got 0.",
        ),
    ],
)
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
