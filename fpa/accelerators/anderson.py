"""Anderson acceleration.

    g_k = z_k - f(z_k)                    residual
    S   = [z_{k-l+1} - z_{k-l}, ...]      differences of iterates,     one column per remembered pair
    Y   = [g_{k-l+1} - g_{k-l}, ...]      differences of residuals
    D   = S - Y                           differences of f

    type I:   gamma = (S'Y + r I)^-1 S' g_k
    type II:  gamma = (Y'Y + r I)^-1 Y' g_k
    z_{k+1}  = f(z_k) - D gamma

Columns not yet filled are zero and, through the regularisation r, take no part. Walker and Ni (2011) for type II;
Zhang, O'Donoghue and Boyd (2020) for type I.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fpa.accelerators.base import AbstractMixing
from fpa.programs import norm


class AndersonState(eqx.Module):
    """The last iterate and residual, and `memory` columns of differences, stored as rows of a ring."""

    z: Float[Array, " z"]
    g: Float[Array, " z"]
    S: Float[Array, "memory z"]
    Y: Float[Array, "memory z"]
    count: Int[Array, ""]


class AndersonAcceleration(AbstractMixing):
    """Anderson acceleration of type "I" or "II" with the given memory, at every iteration, without safeguard.

    Without a safeguard it can diverge: see `Safeguarded`. `regularization` is relative to the Frobenius norms of S
    and Y (type I) or of Y alone, squared (type II); differences no larger than rounding errors are damped as well.
    """

    memory: int = eqx.field(static=True, default=5)
    kind: Literal["I", "II"] = eqx.field(static=True, default="I")
    regularization: float = eqx.field(static=True, default=1e-10)

    def __check_init__(self):
        if self.memory < 1:
            raise ValueError(f"AndersonAcceleration: memory must be at least 1, got {self.memory}.")
        if self.kind not in ("I", "II"):
            raise ValueError(f'AndersonAcceleration: kind must be "I" or "II", got {self.kind!r}.')
        if not self.regularization >= 0:
            raise ValueError(f"AndersonAcceleration: regularization must be >= 0, got {self.regularization}.")

    def init(self, op, start=None):
        z = op.initial() if start is None else start
        empty = jnp.zeros((self.memory, z.shape[0]), z.dtype)
        return z, AndersonState(z, jnp.zeros_like(z), empty, empty, jnp.zeros((), jnp.int32))

    def propose(self, z, fz, state):
        g = z - fz
        row = state.count % self.memory
        first = state.count == 0
        S = state.S.at[row].set(jnp.where(first, 0, z - state.z))
        Y = state.Y.at[row].set(jnp.where(first, 0, g - state.g))
        z_next = fz - self._weights(S, Y, g, 10 * jnp.finfo(z.dtype).eps * norm(z)) @ (S - Y)
        return z_next, AndersonState(z, g, S, Y, state.count + 1)

    def _weights(self, S, Y, g, rounding):
        left = S if self.kind == "I" else Y
        gram = left @ Y.T
        empty = jnp.sum(left * left, axis=1) == 0
        ridge = self.regularization * norm(left.ravel()) * norm(Y.ravel()) + rounding**2
        diagonal = jnp.where(empty, 1, 0) + ridge
        return jnp.linalg.solve(gram + jnp.diag(diagonal), left @ g)
