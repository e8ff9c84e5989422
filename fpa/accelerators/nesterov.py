"""Nesterov's momentum, which makes FISTA of the proximal gradient method."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.accelerators.base import AbstractMixing


class NesterovState(eqx.Module):
    """f of the last iterate, and the sequence t_k that sets the momentum."""

    x: Float[Array, " z"]
    t: Float[Array, ""]


class Nesterov(AbstractMixing):
    """z_{k+1} = x_{k+1} + (t_k - 1) / t_{k+1} (x_{k+1} - x_k), with x_{k+1} = f(z_k).

    t_1 = 1 and t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2 (Beck and Teboulle, 2009). With `restart` the momentum begins
    anew where it points uphill, (z_k - x_{k+1})'(x_{k+1} - x_k) > 0 (O'Donoghue and Candes, 2015, the gradient scheme).
    """

    restart: bool = eqx.field(static=True, default=False)

    def init(self, op, start=None):
        z = op.initial() if start is None else start
        return z, NesterovState(z, jnp.ones((), z.dtype))

    def propose(self, z, fz, state):
        t = (1 + jnp.sqrt(1 + 4 * state.t**2)) / 2
        move = fz - state.x
        momentum = (state.t - 1) / t
        if self.restart:
            uphill = jnp.vdot(z - fz, move) > 0
            t, momentum = jnp.where(uphill, 1, t), jnp.where(uphill, 0, momentum)
        return fz + momentum * move, NesterovState(fz, t)
