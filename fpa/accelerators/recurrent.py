"""Learned acceleration with a recurrent model at every iteration (Algorithm 1 of the main paper)."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.accelerators.base import AbstractSteady
from fpa.accelerators.cells import AbstractCell
from fpa.accelerators.features import Features, Normalizer, first_features, step_features
from fpa.accelerators.networks import MLP, FlatNetwork, flatten
from fpa.accelerators.predictions import Initializer


class AbstractRecurrentNetwork(eqx.Module):
    """A function from features and a hidden state to a vector of w's length and the next hidden state."""

    @abstractmethod
    def start(self, features: Features) -> Any:
        """The first hidden state, from what g_init sees."""

    @abstractmethod
    def __call__(self, features: Features, state: Any) -> tuple[Float[Array, " w"], Any]:
        """The answer, of the order of 1, and the next hidden state."""


class FlatRecurrent(AbstractRecurrentNetwork):
    """Encoder, cell and decoder on (f(z), f(z) - z) as one standardised vector, as in the paper.

    The first hidden state is the answer of `hidden`, or 0 without one.
    """

    hidden: FlatNetwork | None
    normalizer: Normalizer
    encoder: MLP
    cell: AbstractCell
    decoder: MLP

    def start(self, features):
        if self.hidden is None:
            return jnp.zeros(self.cell.shape, jnp.float32)
        return self.hidden(features).reshape(self.cell.shape)

    def __call__(self, features, state):
        output, state = self.cell(self.encoder(self.normalizer(iterates(features))), state)
        return self.decoder(output), state


def iterates(features: Features) -> Float[Array, " k"]:
    """Of all features f(z), f(z) - z and the scalars, as one vector."""
    return flatten(Features(features.vectors[:2], features.scalars, features.context[:0]))


class Recurrent(AbstractSteady):
    """Every iterate is f(z) with a corrected u; v follows the map.

    The answer of `network` is measured in units of the present step, times `unit`, of w's length: the usual size of a
    correction, and 0 on the slack, which belongs to v. The iterate is entered at the family's settled `tau`. The first
    iterate is that of `initializer`, or the cold start without one.
    """

    initializer: Initializer | None
    network: AbstractRecurrentNetwork
    unit: Float[Array, " w"]
    tau: Float[Array, ""]

    def init(self, op, start=None):
        if start is None:
            start = op.initial() if self.initializer is None else self.initializer(op)
        return start, self.network.start(first_features(op))

    def step(self, op, z, state):
        fz, point = op(z)
        w = op.coordinates(fz)
        features, length = step_features(op, w, op.coordinates(z)[None], jnp.zeros(0))
        answer, state = self.network(features, state)
        unit, tau = jax.lax.stop_gradient((self.unit, self.tau))
        return op.enter(w + length * unit * answer.astype(w.dtype), tau), state, fz, point
