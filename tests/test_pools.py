"""Pools of solved instances, what a family looks like, and models that grow access by access."""

import dataclasses

import cvxpy as cp
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import LASSO, bound, intermittent

from fpa.accelerators import AndersonAcceleration, Correction, Intermittent, Picard
from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions import AbstractConeDistribution, role_key, sample_batch
from fpa.maps import SCS
from fpa.solver import Solver
from fpa.training import (
    LastAccess,
    Regression,
    advance,
    calibrate,
    calibrate_access,
    draw_pool,
    fit,
    member,
    pools,
    stack,
)

OP = bound(LASSO)
EXACT = Solver(accelerator=AndersonAcceleration(memory=10))
REGRESSION = Regression(reference=EXACT, log=False)


@pytest.fixture(scope="module")
def pool():
    return draw_pool(LASSO, REGRESSION, role_key(0, "train"), size=10, chunk=4)


def _models(access=(1, 3)):
    return Solver(accelerator=stack([intermittent(OP, seed, access, tau=3.0) for seed in (0, 1)]))


def test_a_pool_holds_solved_instances_and_training_draws_from_it(pool):
    assert pool.size == 10 and pool.parameters["g"].shape == (10, 4)
    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf[7], jnp.float64), pool.parameters)
    point = jax.tree.map(lambda leaf: jnp.asarray(leaf[7], jnp.float64), pool.targets)
    assert LASSO.program(parameters).residuals(point).worst < 1e-5
    _, history = _fit(_models(), REGRESSION, pool)
    assert np.all(np.isfinite(history.losses))


def test_no_more_instances_are_solved_than_a_small_pool_has(pool, monkeypatch):
    solved = []
    real = pools.compute_targets
    monkeypatch.setattr(pools, "compute_targets", lambda *given: solved.append(len(given[2]["g"])) or real(*given))
    small = draw_pool(LASSO, REGRESSION, role_key(0, "train"), size=3)
    assert solved == [3] and small.size == 3
    np.testing.assert_array_equal(small.parameters["g"], pool.parameters["g"][:3])


@eqx.filter_jit
def _after(solver, parameters, num_steps):
    """The iterate and the state after so many iterations."""
    op = solver.splitting.bind(LASSO.program(parameters))
    return solver.run(op, *solver.accelerator.init(op), 0, num_steps)[:2]


def _fit(models, objective, pool, **options):
    options = {"num_updates": 3, "batch_size": 4, "optimizer": optax.adam(1e-2)} | options
    return fit(models, LASSO, objective, jax.random.key(7), pool=pool, **options)


def test_advancing_a_pool_is_iterating_its_instances(pool):
    """In pieces or at once, chunk by chunk, for every model; what is kept at an access has not crossed it."""
    models = _models()
    pieces = advance(models, LASSO, advance(models, LASSO, pool, 0, 1, chunk=4), 1, 3, chunk=3)
    parameters = jax.tree.map(lambda leaf: leaf[7], pool.parameters)
    for index in (0, 1):
        solver = member(models, index)
        z, state = _after(solver, parameters, 3)
        for kept, expected in zip(jax.tree.map(lambda leaf: leaf[:, 7], pieces.starts), (z, state), strict=True):
            np.testing.assert_allclose(kept[index], expected, rtol=1e-4, atol=1e-5)


def test_the_last_access_is_trained_on_what_the_pool_keeps_before_it(pool):
    """The loss is the distance after the crossing, and no other network has a gradient."""
    models = _models()
    kept = advance(models, LASSO, pool, 0, 3)
    parameters, (point, starts) = kept.batches(jnp.array([[7], [2]]))
    pick = lambda tree: jax.tree.map(lambda leaf: leaf[1, 0], tree)  # noqa: E731
    solver, program = member(models, 1), LASSO.program(pick(parameters))
    op = solver.splitting.bind(program)
    (z, state), objective = pick(starts), LastAccess(REGRESSION)
    loss = lambda s: objective.loss(s, program, (pick(point), (z, state)))  # noqa: E731
    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss))(solver)
    crossed, _ = solver.accelerator.cross(op, z, state, 3)
    solution = op.coordinates(op.lift(pick(point), 1.0))
    np.testing.assert_allclose(value, jnp.linalg.norm(op.coordinates(crossed) - solution), rtol=1e-5)
    size = lambda tree: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert size(gradient.accelerator.initializer) == size(gradient.accelerator.correction.networks[0]) == 0
    assert size(gradient.accelerator.correction.networks[1]) > 0
    _, history = _fit(models, objective, kept)
    assert np.all(np.isfinite(history.losses)) and history.losses[-1].mean() < history.losses[0].mean()


def test_an_access_is_calibrated_to_the_iterates_that_reach_it(pool):
    models = _models(access=(1,))
    kept = advance(models, LASSO, pool, 0, 1)
    seen, units = calibrate_access(models.splitting, LASSO, kept, num_instances=8)
    z = kept.starts[0][1, :8]
    coordinates = lambda p, z: models.splitting.bind(LASSO.program(p)).coordinates(z)  # noqa: E731
    w = jax.jit(jax.vmap(coordinates))(jax.tree.map(lambda leaf: jnp.asarray(leaf[:8]), pool.parameters), z)
    np.testing.assert_allclose(seen.vectors.mean[1, 0], w.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert units.shape == (2, OP.data.shape[1]) and np.all(np.isfinite(units))
    assert not np.array_equal(units[0], units[1])


def test_a_model_without_accesses_is_its_initializer(pool):
    def first(seed):
        model = intermittent(OP, seed, access=(1,), tau=3.0)
        none = Correction((), model.correction.units[:0], model.correction.tau, 0)
        return Intermittent(model.initializer, none, ())

    models = Solver(accelerator=stack([first(seed) for seed in (0, 1)]))
    trained, history = _fit(models, REGRESSION, pool)
    assert member(trained, 0).accelerator.access == () and np.shape(history.losses) == (3, 2)


class SometimesInfeasible(AbstractConeDistribution):
    """min x subject to p <= x <= 1, where p may be larger than 1."""

    canonical: Canonical

    def sample(self, key):
        return {"p": jax.random.uniform(key, (), minval=-1.0, maxval=1.2)}


def _sometimes_infeasible() -> SometimesInfeasible:
    x, p = cp.Variable(name="x"), cp.Parameter(name="p")
    return SometimesInfeasible(canonicalize(cp.Problem(cp.Minimize(x), [x >= p, x <= 1])))


def test_calibration_leaves_out_what_has_no_solution():
    family, key = _sometimes_infeasible(), role_key(0, "train")
    parameters = sample_batch(family, jax.random.fold_in(key, 0), 40)["p"]
    assert parameters.max() > 1
    calibration = calibrate(SCS(), family, key, EXACT, num_instances=40)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(calibration))
    assert calibration.solutions.scale[0] > 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (dict(num_instances=0), "num_instances must be at least 1, got 0"),
        (dict(history=5), "history must lie between 1 and 4, got 5"),
    ],
)
def test_what_calibration_cannot_do_is_named(option, message):
    with pytest.raises(ValueError, match=message):
        calibrate(SCS(), LASSO, role_key(0, "train"), EXACT, **option)


def test_iterates_that_a_pool_does_not_keep_cannot_be_advanced(pool):
    with pytest.raises(ValueError, match="keeps no iterates after 3 iterations"):
        advance(Solver(accelerator=stack([Picard()])), LASSO, dataclasses.replace(pool, starts=None), 3, 5)


def test_calibration_measures_the_family():
    calibration = calibrate(Solver().splitting, LASSO, role_key(0, "train"), EXACT, stages=2, num_instances=60)
    keys = jax.random.split(role_key(0, "validation"), 10)
    taus = jax.jit(jax.vmap(lambda key: Solver().trace(LASSO.program(LASSO.sample(key)), 50).tau[-1]))(keys)
    assert min(taus) <= calibration.tau <= max(taus)
    size = OP.data.shape[1]
    assert calibration.unit.shape == (size,) and calibration.later.vectors.mean.shape == (7, size)
    np.testing.assert_array_equal(calibration.later.scalars.mean[-2:], 0)
    np.testing.assert_array_equal(calibration.later.scalars.scale[-2:], 1)
    n = OP.program.c.size
    assert np.all(calibration.solutions.scale[:n] > 0)
