"""Training instances that are drawn and solved once."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from fpa._progress import progress
from fpa.distributions import AbstractDistribution, sample_batch
from fpa.solver import Solver
from fpa.training.ensembles import axes
from fpa.training.objectives import AbstractObjective


@dataclass(frozen=True)
class Pool:
    """`size` instances and their targets; `starts` holds, model by model, an iterate and a state for each of them."""

    parameters: Any
    targets: Any
    size: int
    starts: Any = None

    def batches(self, index: Int[Array, "models batch"]) -> tuple[Any, Any]:
        """Parameters and targets of the chosen instances; where there are starts, a target is a pair with its start."""
        parameters, targets = _pick((self.parameters, self.targets), index)
        return parameters, targets if self.starts is None else (targets, _pick_each(self.starts, index))


def draw_pool(
    distribution: AbstractDistribution,
    objective: AbstractObjective,
    key: PRNGKeyArray,
    size: int,
    dtype: Any = jnp.float32,
    chunk: int = 100,
) -> Pool:
    """Draw `size` instances and compute their targets in double precision where it is on, `chunk` at a time."""
    parts, chunk = [], min(chunk, size)
    for index in progress(range(-(-size // chunk)), desc="solve training instances"):
        parameters = sample_batch(distribution, jax.random.fold_in(key, index), chunk)
        parts.append(jax.device_get((parameters, compute_targets(objective, distribution, parameters))))
    joined = jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)[:size]), *parts)
    parameters, targets = cast(joined, dtype)
    return Pool(parameters, targets, size)


def advance(
    ensemble: Solver, distribution: AbstractDistribution, pool: Pool, done: int, stop: int, chunk: int = 250
) -> Pool:
    """The pool with the iterates of every model after `stop` iterations, from those it keeps after `done`.

    A boundary at `done` is crossed first, one at `stop` is not. With `done` = 0 the models start. Raises ValueError
    for another `done` where the pool keeps no iterates.
    """
    if done and pool.starts is None:
        raise ValueError(f"advance: the pool keeps no iterates after {done} iterations; begin with done=0.")
    parts = []
    for first in progress(range(0, pool.size, chunk), desc=f"iterate to {stop}"):
        parameters = jax.tree.map(lambda leaf, k=first: leaf[k : k + chunk], pool.parameters)
        starts = jax.tree.map(lambda leaf, k=first: leaf[:, k : k + chunk], pool.starts) if done else None
        parts.append(_advance(ensemble, distribution, parameters, starts, done, stop))
    return dataclasses.replace(pool, starts=jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts))


@eqx.filter_jit
def _advance(ensemble, distribution, parameters, starts, done, stop):
    def one(solver, parameters, start):
        op = solver.splitting.bind(distribution.program(parameters))
        z, state = solver.accelerator.init(op) if start is None else start
        return solver.run(op, z, state, done, stop, lambda op, z, fz, point: None)[:2]

    def model(solver, starts):
        return jax.vmap(lambda parameters, start: one(solver, parameters, start))(parameters, starts)

    return eqx.filter_vmap(model, in_axes=(axes(ensemble), eqx.if_array(0)))(ensemble, starts)


@eqx.filter_jit
def compute_targets(objective: AbstractObjective, distribution: AbstractDistribution, parameters: Any) -> Any:
    """The targets of a batch of instances."""
    return jax.vmap(lambda p: objective.target(distribution.program(p)))(parameters)


def cast(tree: Any, dtype: Any) -> Any:
    """The tree with its floating-point arrays in another precision."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


@jax.jit
def _pick(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


@jax.jit
def _pick_each(tree, index):
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, i: rows[i])(leaf, index), tree)
