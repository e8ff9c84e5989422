"""A recurrent network over the sites of a layout that says how far to go along each coordinate's own steps."""

import functools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from fpa.accelerators.cells import GRU, AbstractCell
from fpa.accelerators.features import FeatureNormalizer, Features, Normalizer
from fpa.accelerators.networks import Linear
from fpa.accelerators.recurrent import AbstractRecurrentNetwork
from fpa.accelerators.sites import SiteTrunk
from fpa.layouts import Layout

_MIXTURES = 3
_EXTRAS = 4
_LARGEST = 3.0


class Memory(eqx.Module):
    """h_t: a hidden state per site and group, the last step in units of its length, log of that length, the count."""

    hidden: list[Float[Array, "_ _ _ _"]]
    step: Float[Array, " w"]
    length: Float[Array, ""]
    count: Int[Array, ""]


class SiteRecurrent(AbstractRecurrentNetwork):
    """A `SiteTrunk` with a recurrent cell at every site, whose answer is mostly gains.

    At a site with channels c the answer is sum_j gain_jc direction_jc plus the trunk's own answer in units of the
    step's root mean square. The directions are the present step, the last one, and a learned mixture of both over the
    site's channels; gains come from the cell's output. A gain on a step keeps a correction as small as the step is,
    coordinate by coordinate, so that what has converged stays. Untrained it answers 0.
    """

    trunk: SiteTrunk
    cells: tuple[AbstractCell, ...]
    mixtures: tuple[Float[Array, "j channels2 channels"], ...]
    gains: tuple[Linear, ...]

    def __init__(
        self,
        key: PRNGKeyArray,
        layout: Layout,
        normalizer: FeatureNormalizer,
        ordered: Sequence[bool],
        width: int = 32,
        hidden: int = 32,
        depth: int = 1,
        num_kernels: int = 8,
    ):
        first, *keys = jax.random.split(key, 1 + 2 * len(layout.groups))
        self.trunk = SiteTrunk(first, layout, _extended(normalizer), tuple(ordered), width, hidden, depth, num_kernels)
        channels = [group.shape[1] for group in layout.groups]
        self.cells = tuple(GRU(k, width, width) for k in keys[::2])
        self.mixtures = tuple(_mixture(k, size) for k, size in zip(keys[1::2], channels, strict=True))
        self.gains = tuple(Linear(k, width, _MIXTURES * c, gain=0.0) for k, c in zip(keys[::2], channels, strict=True))

    def start(self, features):
        groups = zip(self.trunk.layout.groups, self.cells, strict=True)
        hidden = [jnp.zeros((group.shape[0], *cell.shape), jnp.float32) for group, cell in groups]
        zero = jnp.zeros((), jnp.float32)
        return Memory(hidden, jnp.zeros(self.trunk.layout.size, jnp.float32), zero, jnp.zeros((), jnp.int32))

    def __call__(self, features, state):
        step, length = features.vectors[1], features.scalars[0]
        grown = jnp.where(state.count == 0, 0, state.length - length)
        last = state.step * jnp.exp(jnp.minimum(grown, _LARGEST))
        inputs, states = self.trunk.hidden(_with_last(features, last, grown, jnp.vdot(step, state.step), state.count))
        pairs = [jax.vmap(cell)(x, h) for cell, x, h in zip(self.cells, states, state.hidden, strict=True)]
        outputs = [x for x, _ in pairs]
        tables = self.trunk.layout.gather(jnp.stack([step, last]))
        moves = [
            jnp.einsum("sc,jck,sjk->sk", table, mixture, gain(x).reshape(len(x), _MIXTURES, -1))
            for table, mixture, gain, x in zip(tables, self.mixtures, self.gains, outputs, strict=True)
        ]
        own = self.trunk.answer(inputs, outputs) / math.sqrt(self.trunk.layout.size)
        return own + self.trunk.layout.scatter(moves), Memory([h for _, h in pairs], step, length, state.count + 1)


def _with_last(features: Features, last: Array, grown: Array, angle: Array, count: Array) -> Features:
    """The features with the last step and how it compares with the present one."""
    k = count.astype(jnp.float32)
    extras = jnp.stack([grown, angle, jnp.exp(-k / 3), jnp.minimum(k, 40) / 20 - 1])
    vectors = jnp.concatenate([features.vectors, last[None]])
    return Features(vectors, jnp.concatenate([features.scalars, extras]), features.context)


def _extended(normalizer: FeatureNormalizer) -> FeatureNormalizer:
    """The normaliser for what `_with_last` adds: the last step like the present one, the scalars as they are."""
    vectors, scalars = normalizer.vectors, normalizer.scalars
    return FeatureNormalizer(
        Normalizer(*(jnp.concatenate([part, part[1:2]]) for part in (vectors.mean, vectors.scale))),
        Normalizer(
            jnp.concatenate([scalars.mean, jnp.zeros(_EXTRAS, jnp.float32)]),
            jnp.concatenate([scalars.scale, jnp.ones(_EXTRAS, jnp.float32)]),
        ),
        normalizer.context,
    )


@functools.partial(jax.jit, static_argnums=1)
def _mixture(key: PRNGKeyArray, channels: int) -> Float[Array, "j channels2 channels"]:
    """The present step, the last one, and something of everything."""
    same, other = jnp.eye(channels, dtype=jnp.float32), jnp.zeros((channels, channels), jnp.float32)
    noise = jax.random.normal(key, (2 * channels, channels), jnp.float32) / jnp.sqrt(jnp.float32(2 * channels))
    return jnp.stack([jnp.concatenate([same, other]), jnp.concatenate([other, same]), noise])
