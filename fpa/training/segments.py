"""Truncated backpropagation through time: long runs cut into segments, with an update after each.

Iterates and hidden states go on from segment to segment and carry no gradient across; the weights that go on are those
that the segment before has left (Lv et al., 2017; Liu et al., 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from fpa.distributions import AbstractDistribution, sample_batch
from fpa.solver import Solver
from fpa.training.checkpoint import Checkpoint, identity
from fpa.training.ensembles import axes, num_models
from fpa.training.loop import AbstractLoop, History, TrainingRun, accelerator, check_positive, split, step, train
from fpa.training.pools import cast
from fpa.training.validation import AbstractValidation

Measure = Callable[[Any, Any, Any, Any], Any]


def objective_value(op: Any, z: Any, fz: Any, point: Any) -> Any:
    """F at the point of an iteration, of a composite program."""
    return op.program.value(point.x)


def fit_segments(
    solver: Solver,
    distribution: AbstractDistribution,
    key: PRNGKeyArray,
    *,
    num_batches: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    segments: int = 5,
    length: int = 20,
    measure: Measure = objective_value,
    trainable: Callable[[Solver], Any] = accelerator,
    validation: AbstractValidation | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 50,
    dtype: Any = jnp.float32,
    description: str = "train",
) -> tuple[Solver, History]:
    """Train an ensemble of solvers on `num_batches` fresh batches, with `segments` updates on each.

    A segment's loss is the mean, over instances and its `length` iterations, of `measure(op, z, f(z), point)`. solver,
    trainable, optimizer, validation and checkpoint are as in `fit`, but count batches, and splittings, which are bound
    once for each, have no gradient; a model whose gradient is not finite skips the update. Returns the ensemble and its
    history.
    """
    check_positive("fit_segments", num_batches=num_batches, batch_size=batch_size, segments=segments, length=length)
    parts = split(solver, trainable)
    loop = _SegmentLoop(parts, distribution, key, batch_size, optimizer, (segments, length), measure, dtype)
    sizes = ("fit_segments", num_batches, batch_size, segments, length, loop.models, jnp.dtype(dtype).name)
    scored = None if validation is None else (type(validation).__name__, vars(validation))
    saved = Checkpoint(checkpoint, identity(sizes, key, distribution, measure, loop.static, scored))
    return train(loop, saved, num_batches, validation, checkpoint_every, description)


class _SegmentLoop(AbstractLoop):
    """One call of `fit_segments`: what is fixed, and the updates on one batch."""

    def __init__(self, parts, distribution, key, batch_size, optimizer, sizes, measure, dtype):
        self.trained, self.static = parts
        self.models = num_models(self.trained)
        self.distribution, self.optimizer, self.measure = distribution, optimizer, measure
        self.key, self.batch_size, self.sizes, self.dtype = key, batch_size, sizes, dtype

    def update(self, run: TrainingRun, update: int) -> np.ndarray:
        """All updates on one batch, `run` in place; returns each model's loss in the last segment."""
        fixed = (self.static, self.distribution, self.optimizer, self.measure)
        keys = jax.random.split(jax.random.fold_in(self.key, update), self.models)
        batch = _draw(self.distribution, keys, self.batch_size, jnp.dtype(self.dtype))
        run.trained, run.state, losses, finite = _update(run.trained, run.state, fixed, batch, self.sizes)
        run.history.skipped += int((~np.asarray(finite)).sum())
        return np.asarray(losses[:, -1])


@eqx.filter_jit
def _draw(distribution, keys, batch_size, dtype):
    return cast(jax.vmap(lambda key: sample_batch(distribution, key, batch_size))(keys), dtype)


@eqx.filter_jit
def _update(trained, state, fixed, batch, sizes):
    static, distribution, optimizer, measure = fixed
    segments, length = sizes

    def one_model(trained, static, state, batch):
        solver = eqx.combine(trained, static)
        ops = eqx.filter_vmap(lambda p: solver.splitting.bind(distribution.program(p)))(batch)

        def loss(trained, z, hidden):
            solver = eqx.combine(trained, static)
            run = lambda op, z, h: solver.run(op, z, h, 0, length, measure)  # noqa: E731
            z, hidden, values = eqx.filter_vmap(run)(ops, z, hidden)
            return jnp.mean(values), (z, hidden)

        def segment(carry, _):
            trained, state, z, hidden = carry
            (value, (z, hidden)), grads = eqx.filter_value_and_grad(loss, has_aux=True)(trained, z, hidden)
            trained, state, finite = step(optimizer, grads, state, trained)
            return (trained, state, *jax.lax.stop_gradient((z, hidden))), (value, finite)

        first = jax.lax.stop_gradient(eqx.filter_vmap(solver.accelerator.init)(ops))
        (trained, state, _, _), (values, finite) = jax.lax.scan(segment, (trained, state, *first), length=segments)
        return trained, state, values, finite

    return eqx.filter_vmap(one_model, in_axes=(axes(trained), axes(static), 0, 0))(trained, static, state, batch)


@dataclass(frozen=True)
class MeanValue(AbstractValidation):
    """Scores an ensemble every `every` batches by the mean of `measure` over instances and `num_steps` iterations.

    The instances are drawn with `key` (of the role "validation"). Infinite where anything is not finite.
    """

    key: PRNGKeyArray
    every: int = 20
    num_instances: int = 64
    num_steps: int = 100
    measure: Measure = objective_value

    def score(self, ensemble, distribution, dtype):
        parameters = cast(sample_batch(distribution, self.key, self.num_instances), dtype)
        return _score(ensemble, distribution, parameters, self.num_steps, self.measure)


@eqx.filter_jit
def _score(ensemble, distribution, parameters, num_steps, measure):
    def one(solver):
        def instance(parameters):
            op = solver.splitting.bind(distribution.program(parameters))
            return jnp.mean(solver.run(op, *solver.accelerator.init(op), 0, num_steps, measure)[2])

        score = jnp.mean(jax.vmap(instance)(parameters))
        return jnp.where(jnp.isfinite(score), score, jnp.inf)

    return eqx.filter_vmap(one, in_axes=(axes(ensemble),))(ensemble)
