"""Several models as one: their floating-point arrays are stacked along a leading axis, everything else is shared."""

import functools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp


def stack(models: Sequence[Any]) -> Any:
    """One module from `models` of equal structure, which may differ in their floating-point arrays only.

    Raises ValueError for the first model that differs from the others in anything else, a number or a setting.
    """
    if not models:
        raise ValueError("stack: there has to be at least one model.")
    floats, rests = zip(*(eqx.partition(model, eqx.is_inexact_array) for model in models), strict=True)
    for index, rest in enumerate(rests):
        if not eqx.tree_equal(rest, rests[0]):
            raise ValueError(f"stack: model {index} differs from model 0 in more than its floating-point arrays.")
    return eqx.combine(_stack(list(floats)), rests[0])


def member(ensemble: Any, index: int) -> Any:
    """One model of an ensemble; raises IndexError where it has no model of that index."""
    floats, rest = eqx.partition(ensemble, eqx.is_inexact_array)
    if not 0 <= index < num_models(ensemble):
        raise IndexError(f"member: there is no model {index} in an ensemble of {num_models(ensemble)}.")
    return eqx.combine(_pick(floats, index), rest)


def num_models(ensemble: Any) -> int:
    """How many models an ensemble holds; ValueError where its arrays do not agree."""
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(eqx.filter(ensemble, eqx.is_inexact_array))}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"The arrays of an ensemble need one common leading axis, got lengths {sorted(sizes)}.")
    return sizes.pop()


def axes(ensemble: Any) -> Any:
    """For `eqx.filter_vmap`: the leading axis of every floating-point array, nothing else."""
    return jax.tree.map(lambda leaf: 0 if eqx.is_inexact_array(leaf) else None, ensemble)


@jax.jit
def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@functools.partial(jax.jit, static_argnums=1)
def _pick(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], tree)
