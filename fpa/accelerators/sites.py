"""Networks that share their weights over the sites of a layout: time steps, features, observations."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators.features import FeatureNormalizer, Features, Normalizer
from fpa.accelerators.networks import AbstractNetwork, Linear
from fpa.layouts import Layout

_SHARPNESS = 10.0


class Block(eqx.Module):
    """One residual block of one group: X + act(mix(act(X A + pooled P)) + c) B.

    `mixing`, heads x sites x sites, mixes sites, a head for each slice of the hidden channels; None leaves every site
    to itself. `pooled` holds the means over sites of all groups.
    """

    expand: Linear
    pool: Linear
    mixing: Float[Array, "heads sites sites"] | None
    bias: Float[Array, " hidden"]
    contract: Linear

    def __call__(self, x: Float[Array, "sites width"], pooled: Float[Array, " pooled"]) -> Float[Array, "sites width"]:
        hidden = jax.nn.silu(self.expand(x) + self.pool(pooled))
        if self.mixing is not None:
            heads, sites, _ = self.mixing.shape
            hidden = jnp.einsum("hst,thc->shc", self.mixing, hidden.reshape(sites, heads, -1)).reshape(sites, -1)
        return x + self.contract(jax.nn.silu(hidden + self.bias))


class SiteGroup(eqx.Module):
    """The network of one group; its sites share all of it but the learned `position` of ordered ones."""

    normalizer: Normalizer
    embed: Linear
    position: Float[Array, "sites width"] | None
    blocks: tuple[Block, ...]
    head: Linear
    skip: Linear

    def inputs(self, table: Float[Array, "sites features"], scalars: Float[Array, " c"]) -> Float[Array, "sites in"]:
        """Standardised features, as they are and through arcsinh, which tells small values apart beside large ones."""
        everywhere = jnp.broadcast_to(scalars, (table.shape[0], scalars.size))
        seen = jnp.concatenate([jax.vmap(self.normalizer)(table), everywhere], axis=1)
        return jnp.concatenate([seen, jnp.arcsinh(_SHARPNESS * seen)], axis=1)

    def embedded(self, inputs: Float[Array, "sites in"]) -> Float[Array, "sites width"]:
        """The first hidden state."""
        x = self.embed(inputs)
        return x if self.position is None else x + self.position

    def answer(self, inputs: Float[Array, "sites in"], x: Float[Array, "sites width"]) -> Float[Array, "sites out"]:
        """The last layer, and a linear one past all others."""
        return self.head(x) + self.skip(inputs)


class SiteTrunk(eqx.Module):
    """A residual network on the tables of a layout.

    Every group has weights of its own, shared by its sites; groups exchange means over sites. Sites of a group for
    which `ordered` is true stand in a row (time): they have learned positions and mix through learned kernels. The
    last layers start at 0.
    """

    layout: Layout
    scalars: Normalizer
    groups: tuple[SiteGroup, ...]

    def __init__(
        self,
        key: PRNGKeyArray,
        layout: Layout,
        normalizer: FeatureNormalizer,
        ordered: tuple[bool, ...],
        width: int = 64,
        hidden: int = 128,
        depth: int = 2,
        num_kernels: int = 8,
    ):
        if len(ordered) != len(layout.groups):
            raise ValueError(f"SiteTrunk: ordered has {len(ordered)} entries for {len(layout.groups)} groups.")
        if hidden % num_kernels:
            raise ValueError(f"SiteTrunk: hidden must be a multiple of num_kernels, got {hidden} and {num_kernels}.")
        self.layout, self.scalars = layout, normalizer.scalars
        sizes = _Sizes(self.scalars.mean.size, len(ordered), width, hidden, depth, num_kernels)
        self.groups = _groups(key, layout, normalizer.vectors, ordered, sizes)

    def hidden(self, features: Features) -> tuple[list[Array], list[Array]]:
        """Inputs and last hidden states, a table per group."""
        tables, scalars = self.layout.gather(features.vectors), self.scalars(features.scalars)
        inputs = [group.inputs(table, scalars) for group, table in zip(self.groups, tables, strict=True)]
        states = [group.embedded(x) for group, x in zip(self.groups, inputs, strict=True)]
        for blocks in zip(*(group.blocks for group in self.groups), strict=True):
            pooled = jnp.concatenate([x.mean(axis=0) for x in states])
            states = [block(x, pooled) for block, x in zip(blocks, states, strict=True)]
        return inputs, states

    def answer(self, inputs: list[Array], states: list[Array]) -> Float[Array, " w"]:
        """The answers of all groups, in w's places."""
        tables = [group.answer(n, x) for group, n, x in zip(self.groups, inputs, states, strict=True)]
        return self.layout.scatter(tables)


class SiteNetwork(AbstractNetwork):
    """A `SiteTrunk` as a network; untrained it answers 0."""

    trunk: SiteTrunk

    def __call__(self, features):
        return self.trunk.answer(*self.trunk.hidden(features))


class _Sizes(NamedTuple):
    """How many scalars, groups, and what a `SiteTrunk` was asked for."""

    scalars: int
    groups: int
    width: int
    hidden: int
    depth: int
    kernels: int


@eqx.filter_jit
def _groups(
    key: PRNGKeyArray, layout: Layout, vectors: Normalizer, ordered: tuple[bool, ...], sizes: _Sizes
) -> tuple[SiteGroup, ...]:
    """Fresh groups, each normalised by the means and spreads over its sites."""
    tables = zip(layout.gather(vectors.mean), layout.gather(vectors.scale), strict=True)
    keys = jax.random.split(key, len(ordered))
    return tuple(
        _group(k, group.shape, _shared(*pair), sites_in_a_row, sizes)
        for k, group, pair, sites_in_a_row in zip(keys, layout.groups, tables, ordered, strict=True)
    )


def _group(
    key: PRNGKeyArray, shape: tuple[int, ...], normalizer: Normalizer, ordered: bool, sizes: _Sizes
) -> SiteGroup:
    """A fresh group of the given table's shape."""
    sites, channels = shape
    first, position, *deep = jax.random.split(key, 2 + sizes.depth)
    seen = 2 * (normalizer.mean.size + sizes.scalars)
    place = 0.1 * jax.random.normal(position, (sites, sizes.width), jnp.float32)
    return SiteGroup(
        normalizer=normalizer,
        embed=Linear(first, seen, sizes.width),
        position=place if ordered else None,
        blocks=tuple(_block(k, sites if ordered else 0, sizes) for k in deep),
        head=Linear(first, sizes.width, channels, gain=0.0),
        skip=Linear(first, seen, channels, gain=0.0),
    )


def _block(key: PRNGKeyArray, sites: int, sizes: _Sizes) -> Block:
    expand, pool, mixing, contract = jax.random.split(key, 4)
    return Block(
        expand=Linear(expand, sizes.width, sizes.hidden, gain=math.sqrt(2)),
        pool=Linear(pool, sizes.groups * sizes.width, sizes.hidden, gain=0.5),
        mixing=_kernels(mixing, sites, sizes.kernels) if sites else None,
        bias=jnp.zeros((sizes.hidden,), jnp.float32),
        contract=Linear(contract, sizes.hidden, sizes.width, gain=0.5),
    )


def _shared(mean: Float[Array, "sites features"], scale: Float[Array, "sites features"]) -> Normalizer:
    """The mean and spread of a channel over all sites."""
    center = mean.mean(axis=0)
    spread = jnp.sqrt((scale**2 + (mean - center) ** 2).mean(axis=0))
    return Normalizer(center, jnp.where(spread > 1e-5 * (1 + jnp.abs(center)), spread, 0))


def _kernels(key: PRNGKeyArray, sites: int, heads: int) -> Float[Array, "heads sites sites"]:
    """Exponential kernels that look back, ahead and both ways, near and far, and a little noise."""
    distance = np.subtract.outer(np.arange(sites), np.arange(sites))
    reach = 2.0 ** (np.arange(heads) // 3)
    side = np.stack([distance >= 0, distance <= 0, np.full_like(distance, True, dtype=bool)])[np.arange(heads) % 3]
    kernels = np.exp(-np.abs(distance) / reach[:, None, None]) * side
    kernels = kernels / np.sqrt((kernels**2).sum(axis=2, keepdims=True))
    noise = 0.02 * jax.random.normal(key, kernels.shape, jnp.float32)
    return jnp.asarray(kernels, jnp.float32) + noise
