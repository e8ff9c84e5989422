"""Recurrent cells: what carries the hidden state h_t of Algorithm 1."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class AbstractCell(eqx.Module):
    """A stack of recurrent layers; the state is an array of shape (depth, parts, units)."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """The state's shape: depth, parts, units."""

    @abstractmethod
    def __call__(
        self, x: Float[Array, " in"], state: Float[Array, "depth parts units"]
    ) -> tuple[Float[Array, " units"], Float[Array, "depth parts units"]]:
        """The output and the next state."""


class LSTM(AbstractCell):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), `depth` layers of `units`."""

    layers: tuple[eqx.nn.LSTMCell, ...]

    def __init__(self, key: PRNGKeyArray, num_in: int, units: int, depth: int = 1):
        layers = _layers("LSTM", key, num_in, units, depth)
        self.layers = tuple(eqx.nn.LSTMCell(size, units, key=k, dtype=jnp.float32) for size, k in layers)

    @property
    def shape(self):
        return len(self.layers), 2, self.layers[0].hidden_size

    def __call__(self, x, state):
        new = []
        for layer, (h, c) in zip(self.layers, state, strict=True):
            h, c = layer(x, (h, c))
            new.append(jnp.stack([h, c]))
            x = h
        return x, jnp.stack(new)


class GRU(AbstractCell):
    """Gated recurrent units (Cho et al., 2014), `depth` layers of `units`."""

    layers: tuple[eqx.nn.GRUCell, ...]

    def __init__(self, key: PRNGKeyArray, num_in: int, units: int, depth: int = 1):
        layers = _layers("GRU", key, num_in, units, depth)
        self.layers = tuple(eqx.nn.GRUCell(size, units, key=k, dtype=jnp.float32) for size, k in layers)

    @property
    def shape(self):
        return len(self.layers), 1, self.layers[0].hidden_size

    def __call__(self, x, state):
        new = []
        for layer, (h,) in zip(self.layers, state, strict=True):
            x = layer(x, h)
            new.append(x[None])
        return x, jnp.stack(new)


def _layers(name: str, key: PRNGKeyArray, num_in: int, units: int, depth: int) -> list[tuple[int, Array]]:
    """The input size and the key of every layer."""
    if units < 1 or depth < 1:
        raise ValueError(f"{name}: units and depth must be at least 1, got {units} and {depth}.")
    return list(zip([num_in, *[units] * (depth - 1)], jax.random.split(key, depth), strict=True))
