"""The training loop.

An ensemble (`fpa.training.stack`) of models is trained together: each update draws a batch per model, and one `vmap`
over models and instances gives all gradients. Everything that happens in update t follows from the key and from t, so
that a killed and resumed run ends with the same bits as an unbroken one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from fpa.distributions import AbstractDistribution
from fpa.solver import Solver
from fpa.training.checkpoint import Checkpoint, identity
from fpa.training.ensembles import axes, num_models
from fpa.training.loop import AbstractLoop, History, TrainingRun, accelerator, check_positive, split, step, train
from fpa.training.objectives import AbstractObjective
from fpa.training.pools import Pool, cast, compute_targets
from fpa.training.validation import AbstractValidation


def fit(
    solver: Solver,
    distribution: AbstractDistribution,
    objective: AbstractObjective,
    key: PRNGKeyArray,
    *,
    num_updates: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    trainable: Callable[[Solver], Any] = accelerator,
    pool: Pool | None = None,
    validation: AbstractValidation | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 500,
    dtype: Any = jnp.float32,
    description: str = "train",
) -> tuple[Solver, History]:
    """Train an ensemble of solvers; returns the ensemble, each model at its best validation, and the history.

    solver: an ensemble made by `stack`, even of one model. distribution: shared by all models.
    trainable: from a solver to the part of it, or the list of parts, whose floating-point arrays are trained
        (normalisers and scales hold back their own gradients), as in `eqx.tree_at`; by default the accelerator.
    pool: draw batches from these instances; by default every update draws fresh ones from the distribution.
    optimizer: any Optax transformation; it sees one model at a time, so clipping is per model. One that moves arrays
        without a gradient, as weight decay does, has to be masked (`optax.masked`): normalisers have none.
    validation: scores the ensemble every so many updates; without it the last models are returned.
    checkpoint: a file that is written every `checkpoint_every` updates and when training is interrupted, and from
        which the same call goes on.

    An update whose gradient is not finite is repeated without the instances whose loss is not, and left out for the
    models that still have none. Raises ValueError for numbers that make no sense and for a checkpoint that belongs to
    another call.
    """
    check_positive("fit", num_updates=num_updates, batch_size=batch_size)
    loop = _Loop(solver, distribution, objective, key, batch_size, optimizer, trainable, pool, dtype)
    sizes = ("fit", num_updates, batch_size, loop.models, jnp.dtype(dtype).name)
    drawn = None if pool is None else (pool.parameters, pool.targets, pool.starts)
    scored = None if validation is None else (type(validation).__name__, vars(validation))
    saved = Checkpoint(checkpoint, identity(sizes, key, distribution, objective, loop.static, drawn, scored))
    return train(loop, saved, num_updates, validation, checkpoint_every, description)


class _Loop(AbstractLoop):
    """One call of `fit`: what is fixed, and one update."""

    def __init__(self, solver, distribution, objective, key, batch_size, optimizer, trainable, pool, dtype):
        self.trained, self.static = split(solver, trainable)
        self.models = num_models(self.trained)
        self.distribution, self.objective, self.optimizer = distribution, objective, optimizer
        self.key, self.batch_size, self.pool, self.dtype = key, batch_size, pool, dtype

    def update(self, run: TrainingRun, update: int) -> np.ndarray:
        """One update of `run` in place; returns each model's loss."""
        batch, targets = self._draw(update)
        weights = jnp.ones((self.models, self.batch_size), self.dtype)
        trained, state, losses, sums, finite = self._apply(run, batch, targets, weights)
        if not np.all(finite):
            good = jnp.isfinite(sums)
            run.history.dropped += int((~good).sum())
            batch, targets = (_replace(good, tree) for tree in (batch, targets))
            trained, state, losses, _, finite = self._apply(run, batch, targets, good.astype(self.dtype))
            run.history.skipped += int((~np.asarray(finite)).sum())
        run.trained, run.state = trained, state
        return np.asarray(losses)

    def _apply(self, run, batch, targets, weights):
        fixed = (self.static, self.distribution, self.objective, self.optimizer)
        return _update(run.trained, run.state, fixed, batch, targets, weights)

    def _draw(self, update: int):
        keys = jax.random.split(jax.random.fold_in(self.key, update), self.models)
        if self.pool is None:
            return _fresh(self.objective, self.distribution, keys, self.batch_size, jnp.dtype(self.dtype))
        index = jax.vmap(lambda key: jax.random.randint(key, (self.batch_size,), 0, self.pool.size))(keys)
        return self.pool.batches(index)


@eqx.filter_jit
def _update(trained, state, fixed, batch, targets, weights):
    """One step of the optimiser for every model; a model without a finite gradient stays as it is."""
    static, distribution, objective, optimizer = fixed

    def batch_loss(trained, static, batch, targets, weights):
        solver = eqx.combine(trained, static)
        one = lambda parameters, target: objective.terms(solver, distribution.program(parameters), target)  # noqa: E731
        terms = jax.vmap(one)(batch, targets)
        loss = objective.total(terms, weights)
        return loss, (loss, terms.sum(axis=1))

    def one_model(trained, static, state, batch, targets, weights):
        gradient = eqx.filter_value_and_grad(batch_loss, has_aux=True)
        (_, (loss, sums)), grads = gradient(trained, static, batch, targets, weights)
        trained, state, finite = step(optimizer, grads, state, trained)
        return trained, state, loss, sums, finite

    over = (axes(trained), axes(static), 0, 0, 0, 0)
    return eqx.filter_vmap(one_model, in_axes=over)(trained, static, state, batch, targets, weights)


@eqx.filter_jit
def _fresh(objective, distribution, keys, batch_size, dtype):
    draw = lambda key: jax.vmap(distribution.sample)(jax.random.split(key, batch_size))  # noqa: E731
    parameters = jax.vmap(draw)(keys)
    targets = jax.vmap(lambda p: compute_targets(objective, distribution, p))(parameters)
    return cast((parameters, targets), dtype)


def _replace(good, tree):
    """In each model's batch, the first good instance in place of those that are not."""
    first = jnp.argmax(good, axis=1)
    index = jnp.where(good, jnp.arange(good.shape[1]), first[:, None])
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, i: rows[i])(leaf, index), tree)
