"""Training: runs that can be killed, ensembles, validation, bad instances."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import LASSO, bound, intermittent

from fpa.accelerators import AndersonAcceleration
from fpa.distributions import AbstractConeDistribution, RobustKalman, SparseCoding, role_key, sample_batch
from fpa.maps import SCS
from fpa.solver import Solver
from fpa.training import (
    Regression,
    TruncatedWindows,
    Unrolled,
    Validation,
    fit,
    member,
    num_models,
    stack,
)
from fpa.training.checkpoint import identity
from fpa.training.pools import compute_targets

OP = bound(LASSO)
EXACT = Solver(accelerator=AndersonAcceleration(memory=10))


def _model(seed=0):
    return Solver(accelerator=intermittent(OP, seed, access=(1, 3), tau=3.0))


KEY = jax.random.key(7)
ADAM = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-2))


def _train(models, objective, updates=6, key=KEY, **options):
    ensemble = Solver(accelerator=stack([_model(seed).accelerator for seed in models]))
    options = {"num_updates": updates, "batch_size": 4, "optimizer": ADAM} | options
    return fit(ensemble, LASSO, objective, key, **options)


def _same(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


WINDOWS = TruncatedWindows(((0, 3), (1, 3)))


def test_the_same_key_gives_the_same_bits_and_another_key_does_not():
    first, second = _train([0, 1], WINDOWS), _train([0, 1], WINDOWS)
    assert _same(first[0], second[0]) and np.array_equal(first[1].losses, second[1].losses)
    assert not _same(first[0], _train([1, 0], WINDOWS)[0])


class Interrupt(Exception):
    """What a test interrupts training with."""


@pytest.mark.parametrize("killed", [1, 4])
def test_a_killed_and_resumed_run_is_the_unbroken_one(killed, tmp_path, monkeypatch):
    validation = Validation(role_key(0, "validation"), every=2, num_instances=3, num_steps=6)
    options = dict(validation=validation, checkpoint=tmp_path / "run", checkpoint_every=3)
    unbroken = _train([0, 1], WINDOWS, validation=validation)
    loop = sys.modules["fpa.training.fit"]._Loop  # in the package the function hides the module of its name
    update = loop.update

    def interrupted(self, run, number):
        if number == killed:
            raise Interrupt
        return update(self, run, number)

    monkeypatch.setattr(loop, "update", interrupted)
    with pytest.raises(Interrupt):
        _train([0, 1], WINDOWS, **options)
    monkeypatch.setattr(loop, "update", update)
    resumed = _train([0, 1], WINDOWS, **options)
    assert _same(unbroken[0], resumed[0])
    assert np.array_equal(unbroken[1].losses, resumed[1].losses) and unbroken[1].scored == resumed[1].scored


def test_a_run_that_is_killed_while_it_is_validated_is_validated_on_resuming(tmp_path, monkeypatch):
    validation = Validation(role_key(0, "validation"), every=2, num_instances=3, num_steps=6)
    unbroken = _train([0, 1], WINDOWS, validation=validation)
    loop = sys.modules["fpa.training.loop"]
    select = loop._select

    def interrupted(*arguments):
        raise Interrupt

    monkeypatch.setattr(loop, "_select", interrupted)
    with pytest.raises(Interrupt):
        _train([0, 1], WINDOWS, validation=validation, checkpoint=tmp_path / "run")
    monkeypatch.setattr(loop, "_select", select)
    resumed = _train([0, 1], WINDOWS, validation=validation, checkpoint=tmp_path / "run")
    assert _same(unbroken[0], resumed[0]) and unbroken[1].scored == resumed[1].scored
    assert np.array_equal(unbroken[1].scores, resumed[1].scores)


@pytest.mark.parametrize(
    "change",
    [
        dict(updates=3),
        dict(key=role_key(1, "train")),
        dict(dtype=jnp.float64),
        dict(validation=Validation(role_key(0, "validation"), every=1, num_instances=2, num_steps=2)),
    ],
)
def test_a_checkpoint_of_another_call_is_refused(change, tmp_path):
    options = dict(updates=2, checkpoint=tmp_path / "run")
    _train([0, 1], WINDOWS, **options)
    with pytest.raises(ValueError, match="belongs to another training run"):
        _train([0, 1], WINDOWS, **options | change)


def test_an_identity_tells_settings_apart_and_nothing_else():
    families = lambda: [RobustKalman(4, outliers=0.2), RobustKalman(4, outliers=0.5), SparseCoding(4, 5, 1)]  # noqa: E731
    models = lambda: [_model(), Solver(accelerator=intermittent(OP, 0, access=(1, 4), tau=3.0))]  # noqa: E731
    objectives = lambda: [WINDOWS, Regression(weights=jnp.ones(3)), Regression(weights=jnp.zeros(3))]  # noqa: E731
    for make in (families, models, objectives):
        first, again = ([identity(KEY, part) for part in make()] for _ in range(2))
        assert len(set(first)) == len(first) and first == again


def test_where_nothing_is_trainable_the_remedy_is_named():
    with pytest.raises(ValueError, match=r"for a learned metric it is lambda solver: solver\.splitting\.metric"):
        fit(stack([Solver()]), LASSO, WINDOWS, KEY, num_updates=1, batch_size=1, optimizer=ADAM)


def test_instances_without_a_solution_are_no_targets():
    never = Regression(reference=Solver(SCS()), tol=1e-9, max_steps=10)
    assert np.isnan(compute_targets(never, LASSO, sample_batch(LASSO, KEY, 2)).x).all()


def test_an_ensemble_holds_what_differs_and_has_no_more_models():
    solvers = [Solver(SCS(scale=scale), _model().accelerator) for scale in (1.0, 1.0, 50.0)]
    with pytest.raises(ValueError, match="stack: model 2 differs from model 0"):
        stack(solvers)
    with pytest.raises(IndexError, match="there is no model 2 in an ensemble of 2"):
        member(stack(solvers[:2]), 2)


def test_models_of_an_ensemble_learn_apart_but_in_step():
    """Two equal models see different batches; each one's bits do not depend on its neighbour's weights."""
    ensemble, history = _train([0, 0], WINDOWS)
    assert not _same(member(ensemble.accelerator, 0), member(ensemble.accelerator, 1))
    beside = _train([0, 1], WINDOWS)[0]
    for x, y in zip(*(jax.tree.leaves(member(e.accelerator, 0)) for e in (ensemble, beside)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    assert np.shape(history.losses) == (6, 2)
    assert num_models(ensemble.accelerator) == 2


def test_training_lowers_the_loss_and_leaves_normalisers_alone():
    start = _model()
    ensemble, history = _train([0], Regression(reference=EXACT), updates=60)
    losses = np.asarray(history.losses)[:, 0]
    assert losses[-10:].mean() < losses[:10].mean() - 0.5
    trained = member(ensemble.accelerator, 0)
    assert _same(trained.initializer.solutions, start.accelerator.initializer.solutions)
    assert _same(trained.correction.units, start.accelerator.correction.units)


def test_only_what_is_trainable_changes():
    ensemble, _ = _train([0], WINDOWS, trainable=lambda solver: solver.accelerator.initializer.network)
    start, end = _model().accelerator, member(ensemble.accelerator, 0)
    assert _same(start.correction, end.correction) and not _same(start.initializer, end.initializer)


def test_the_best_model_on_validation_is_kept():
    """With a step size that ruins the model, the best is an early one."""
    validation = Validation(role_key(0, "validation"), every=1, num_instances=4, num_steps=8)
    wild = optax.adam(optax.piecewise_constant_schedule(1e-3, {3: 1e4}))
    ensemble, history = _train([0], WINDOWS, updates=8, optimizer=wild, validation=validation)
    scores = np.asarray(history.scores)[:, 0]
    assert scores.argmin() < 7 and history.scored == list(range(1, 9))
    assert np.isclose(validation.score(ensemble, LASSO, jnp.float32)[0], scores.min(), rtol=1e-5)


class Spoilt(AbstractConeDistribution):
    """A share of the instances of `LASSO` have a NaN in them."""

    canonical: object = LASSO.canonical
    share: jax.Array = eqx.field(converter=jnp.asarray, default=0.3)

    def sample(self, key):
        bad = jax.random.bernoulli(jax.random.fold_in(key, 1), self.share)
        parameters = LASSO.sample(key)
        return parameters | {"g": jnp.where(bad, jnp.nan, parameters["g"])}


@pytest.mark.parametrize(("share", "dropped", "skipped"), [(0.3, True, False), (1.0, True, True)])
def test_a_bad_instance_is_left_out_and_a_batch_of_them_changes_nothing(share, dropped, skipped):
    start = Solver(accelerator=stack([_model().accelerator]))
    options = dict(num_updates=5, batch_size=4, optimizer=ADAM)
    ensemble, history = fit(start, Spoilt(share=share), WINDOWS, jax.random.key(0), **options)
    assert all(
        bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(eqx.filter(ensemble, eqx.is_inexact_array))
    )
    assert (history.dropped > 0, history.skipped > 0) == (dropped, skipped)
    assert _same(start.accelerator, ensemble.accelerator) == skipped


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unrolled(num_steps=0), "num_steps must be at least 1, got 0"),
        (lambda: Unrolled(log=True, pooled=True), "choose one"),
        (lambda: TruncatedWindows(()), "accesses must be increasing and not negative, got []"),
        (lambda: TruncatedWindows(((2, 3), (1, 3))), "accesses must be increasing and not negative, got [2, 1]"),
        (lambda: TruncatedWindows(((0, 0),)), "the interval after access 0 must be positive, got 0"),
        (lambda: _train([0], WINDOWS, updates=0), "num_updates must be at least 1, got 0"),
        (lambda: stack([]), "there has to be at least one model"),
        (lambda: num_models({"a": jnp.ones(2), "b": jnp.ones(3)}), "one common leading axis, got lengths [2, 3]"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
