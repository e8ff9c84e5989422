"""Fitting one network to examples: what it sees and what it should answer, computed once.

A stage of a model that grows access by access is plain regression, as no gradient passes through the map. So features
and answers are computed once for all training instances, and hundreds of updates become one compiled loop.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from fpa._progress import progress
from fpa.accelerators import AbstractNetwork, Initializer
from fpa.accelerators.features import Features, first_features, step_features
from fpa.distributions import AbstractDistribution
from fpa.maps import AbstractSplitting
from fpa.training.pools import Pool

_CHUNK = 250


class Examples(eqx.Module):
    """`features` of N instances, or of one; an answer a means coordinates `origin + unit a`, ideally `solution`."""

    features: Features
    origin: Float[Array, "*N w"]
    unit: Float[Array, "*N w"]
    solution: Float[Array, "*N w"]


def first_examples(
    splitting: AbstractSplitting, distribution: AbstractDistribution, pool: Pool, initializer: Initializer
) -> Examples:
    """What the network of `initializer` is to learn from the instances of a pool."""
    return _finite(_in_chunks(_first, (splitting, distribution, initializer), pool.parameters, pool.targets, None))


def access_examples(
    splitting: AbstractSplitting, distribution: AbstractDistribution, pool: Pool, unit: Float[Array, " w"]
) -> Examples:
    """What the network of an access is to learn at the pool's `starts` (of one model), in units of `unit` steps."""
    starts = jax.tree.map(lambda leaf: leaf[0], pool.starts)
    return _finite(_in_chunks(_later, (splitting, distribution, unit), pool.parameters, pool.targets, starts))


def regress(
    network: AbstractNetwork,
    examples: Examples,
    weights: Float[Array, " w"] | float,
    key: PRNGKeyArray,
    *,
    num_updates: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    description: str = "train",
) -> tuple[AbstractNetwork, np.ndarray]:
    """The network fitted to the mean distance ||weights (origin + unit a - solution)||, and the loss of every update.

    Batches are drawn with replacement. Raises FloatingPointError where the loss stops being finite.
    """
    trained, static = eqx.partition(network, eqx.is_inexact_array)
    state, losses = optimizer.init(trained), []
    for first in progress(range(0, num_updates, _CHUNK), desc=description):
        keys = jax.random.split(jax.random.fold_in(key, first), min(_CHUNK, num_updates - first))
        fixed = (static, examples, jnp.asarray(weights, jnp.float32), optimizer)
        trained, state, part = _updates(trained, state, fixed, keys, batch_size)
        losses.append(np.asarray(part))
        if not np.isfinite(losses[-1]).all():
            raise FloatingPointError(f"regress: the loss is not finite within updates {first} to {first + len(part)}.")
    return eqx.combine(trained, static), np.concatenate(losses)


@eqx.filter_jit
def _updates(trained, state, fixed, keys, batch_size):
    static, examples, weights, optimizer = fixed

    def loss(trained, batch):
        answer = jax.vmap(eqx.combine(trained, static))(batch.features)
        left = weights * (batch.origin + batch.unit * answer - batch.solution)
        return jnp.mean(jnp.sqrt(jnp.sum(left**2, axis=1) + 1e-24))

    def update(carry, key):
        trained, state = carry
        index = jax.random.randint(key, (batch_size,), 0, examples.origin.shape[0])
        value, grads = jax.value_and_grad(loss)(trained, jax.tree.map(lambda leaf: leaf[index], examples))
        updates, state = optimizer.update(grads, state, trained)
        return (optax.apply_updates(trained, updates), state), value

    (trained, state), losses = jax.lax.scan(update, (trained, state), keys)
    return trained, state, losses


@eqx.filter_jit
def _first(fixed, parameters, targets, starts):
    splitting, distribution, initializer = fixed

    def one(parameters, target):
        op = splitting.bind(distribution.program(parameters))
        mean, scale = initializer.solutions.mean, initializer.solutions.scale
        return _single(Examples(first_features(op), mean, scale, op.coordinates(op.lift(target, 1.0))))

    return jax.vmap(one)(parameters, targets)


@eqx.filter_jit
def _later(fixed, parameters, targets, starts):
    splitting, distribution, unit = fixed

    def one(parameters, target, start):
        op = splitting.bind(distribution.program(parameters))
        z, past = start
        w = op.coordinates(z)
        features, step = step_features(op, w, jax.vmap(op.coordinates)(past), jnp.zeros(0))
        solution = op.coordinates(op.lift(target, 1.0))
        return _single(Examples(features, jnp.zeros_like(w), step * unit, solution - w))

    return jax.vmap(one)(parameters, targets, starts)


def _single(examples: Examples) -> Examples:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), examples)


def _in_chunks(look: Any, fixed: Any, *instances: Any) -> Examples:
    size = jax.tree.leaves(instances)[0].shape[0]
    parts = [
        look(fixed, *jax.tree.map(lambda leaf, k=first: leaf[k : k + _CHUNK], instances))
        for first in range(0, size, _CHUNK)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _finite(examples: Examples) -> Examples:
    """The examples without those in which anything is not finite."""
    good = np.ones(examples.origin.shape[0], bool)
    for leaf in jax.tree.leaves(examples):
        good &= np.isfinite(np.asarray(leaf)).reshape(good.size, -1).all(axis=1)
    if not good.any():
        raise ValueError("Examples: no instance of the pool is finite.")
    return examples if good.all() else jax.tree.map(lambda leaf: leaf[good], examples)
