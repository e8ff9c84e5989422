"""The recurrent model that may choose tau: what Appendix D of the main paper warns of."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.accelerators.base import AbstractSteady
from fpa.accelerators.features import Features, first_features
from fpa.accelerators.recurrent import AbstractRecurrentNetwork


class UnnormalizedRecurrent(AbstractSteady):
    """Algorithm 1 without tau normalisation: the raw iterate z = (u; v), tau in u included, is f(z) plus a correction.

    `network` sees f(z) and the step f(z) - z as they are. Its answer, of z's length, is measured in `unit`, which is 0
    on v. The map is homogeneous, so that a raw fixed-point residual shrinks with tau though the point stays the same.
    """

    network: AbstractRecurrentNetwork
    unit: Float[Array, " z"]

    def init(self, op, start=None):
        return op.initial() if start is None else start, self.network.start(first_features(op))

    def step(self, op, z, state):
        fz, point = op(z)
        answer, state = self.network(raw_features(z, fz), state)
        unit = jax.lax.stop_gradient(self.unit)
        return fz + unit * answer.astype(fz.dtype), state, fz, point


def raw_features(z: Float[Array, " z"], fz: Float[Array, " z"]) -> Features:
    """f(z) and the step f(z) - z, tau included."""
    vectors, nothing = jnp.stack([fz, fz - z]), jnp.zeros(0, jnp.float32)
    return Features(vectors.astype(jnp.float32), nothing, nothing)
