"""Recurrent networks that serve every coordinate alike, so that they run on problems of any size."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators.cells import LSTM, AbstractCell
from fpa.accelerators.networks import ACTIVATIONS, Linear


class Coordinatewise(eqx.Module):
    """For every coordinate: an optional layer, a recurrent cell, an optional hidden layer, one answer per output.

    Inputs and answers have the coordinate as their first axis. Inputs carry no gradient.
    """

    encoder: Linear | None
    cell: AbstractCell
    hidden: Linear | None
    heads: Linear
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        num_in: int,
        num_out: int,
        units: int = 20,
        depth: int = 2,
        encoded: bool = False,
        hidden: bool = True,
        activation: str = "relu",
    ):
        one, two, three, four = jax.random.split(key, 4)
        self.encoder = Linear(one, num_in, units) if encoded else None
        self.cell = LSTM(two, units if encoded else num_in, units, depth)
        self.hidden = Linear(three, units, units) if hidden else None
        self.heads = Linear(four, units, num_out)
        self.activation = activation

    @property
    def num_out(self) -> int:
        """How many answers a coordinate gets."""
        return self.heads.bias.shape[-1]

    def __call__(
        self, inputs: Float[Array, "n in"], state: Float[Array, "n depth parts units"]
    ) -> tuple[Float[Array, "n out"], Float[Array, "n depth parts units"]]:
        """The answers and the next hidden states."""
        x = jax.lax.stop_gradient(inputs).astype(jnp.float32)
        if self.encoder is not None:
            x = ACTIVATIONS[self.activation](self.encoder(x))
        x, state = jax.vmap(self.cell)(x, state)
        if self.hidden is not None:
            x = ACTIVATIONS[self.activation](self.hidden(x))
        return self.heads(x), state


def standing_state(
    cell: AbstractCell, data: Float[Array, " n"], spread: float = 1.0
) -> Float[Array, "n depth parts units"]:
    """Normal hidden states of standard deviation `spread`, drawn anew for every coordinate of every instance.

    The seed is made of the norm of the instance's `data`: the same instance always gets the same states.
    """
    seed = jax.lax.bitcast_convert_type(jnp.vdot(data, data).astype(jnp.float32), jnp.uint32)
    key = jax.random.fold_in(jax.random.key(0), seed)
    return spread * jax.random.normal(key, (data.shape[0], *cell.shape), jnp.float32)
