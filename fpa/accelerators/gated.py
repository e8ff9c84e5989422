"""A dense network for families whose matrix does not vary."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from fpa.accelerators.features import FeatureNormalizer, Features, Normalizer
from fpa.accelerators.networks import AbstractNetwork, Linear, flatten

_FAR = 10.0


class GatedNetwork(AbstractNetwork):
    """Linear in a code of its inputs, with coefficients that depend on that code: ((E x) * gate(E x)) W.

    Once it is known which constraints are active, the way to the solution is linear in iterate and data, so what has
    to be learned is where which linear map holds. `seen` lists the vectors of the features that are read, besides
    scalars and context. Untrained it answers 0, and so it does where a scalar, such as the logarithm of the step, is
    more than ten spreads from its mean: so far outside what it was fitted to it is no guide.
    """

    normalizer: Normalizer
    encode: Linear
    blocks: tuple[tuple[Linear, Linear], ...]
    gate: Linear
    decode: Linear
    seen: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        normalizer: FeatureNormalizer,
        seen: tuple[int, ...],
        width: int,
        hidden: int,
        depth: int,
    ):
        size = normalizer.vectors.mean.shape[1]
        self.seen = seen
        parts = (normalizer.vectors, normalizer.scalars, normalizer.context)
        self.normalizer = Normalizer(
            *(self._read(Features(*(getattr(part, name) for part in parts))) for name in ("mean", "scale"))
        )
        encode, gate, decode, *deep = jax.random.split(key, 3 + 2 * depth)
        self.encode = Linear(encode, self.normalizer.mean.size, width)
        self.blocks = tuple(
            (Linear(first, width, hidden, gain=math.sqrt(2)), Linear(second, hidden, width, gain=0.5))
            for first, second in zip(deep[::2], deep[1::2], strict=True)
        )
        self.gate, self.decode = Linear(gate, width, width), Linear(decode, width, size, gain=0.0)

    def __call__(self, features):
        inputs = self.normalizer(self._read(features))
        code = self.encode(inputs)
        x = code
        for expand, contract in self.blocks:
            x = x + contract(jax.nn.silu(expand(x)))
        scalars = inputs[inputs.size - features.context.size - features.scalars.size :][: features.scalars.size]
        known = jnp.all(jnp.abs(scalars) < _FAR)
        return jnp.where(known, self.decode(code * jax.nn.silu(self.gate(x))), 0)

    def _read(self, features: Features) -> jax.Array:
        return flatten(eqx.tree_at(lambda f: f.vectors, features, features.vectors[jnp.asarray(self.seen)]))
