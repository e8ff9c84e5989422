"""The recurrent model that may choose tau: what Appendix D of the main paper warns of."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.accelerators.base import AbstractAccelerator
from fpa.accelerators.features import first_features, step_features
from fpa.accelerators.recurrent import AbstractRecurrentNetwork


class UnnormalizedRecurrent(AbstractAccelerator):
    """`Recurrent` from the cold start, except that the network also predicts by which factor tau changes.

    The map is homogeneous, so tau is free, and a raw fixed-point residual shrinks with it though the point stays the
    same. Trained on raw residuals, the model learns just that. The answer of `network` has length w + 1; the last
    entry is the logarithm of the factor, cut at 1 in size. Where f(z) stands for no point, `tau` takes the place of
    its scale.
    """

    network: AbstractRecurrentNetwork
    unit: Float[Array, " w"]
    tau: Float[Array, ""]

    def init(self, op, start=None):
        return op.initial() if start is None else start, self.network.start(first_features(op))

    def step(self, op, z, state):
        fz, point = op(z)
        w = op.coordinates(fz)
        features, length = step_features(op, w, op.coordinates(z)[None], jnp.zeros(0))
        answer, state = self.network(features, state)
        answer = answer.astype(w.dtype)
        unit, usual = jax.lax.stop_gradient((self.unit, self.tau))
        tau, valid = op.scale(fz)
        tau = jnp.where(valid, tau, usual) * jnp.exp(jnp.clip(answer[-1], -1, 1))
        return op.enter(w + length * unit * answer[:-1], tau), state, fz, point

    @property
    def boundaries(self):
        return ()

    def cross(self, op, z, state, iteration):
        return z, state
