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
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fpa.accelerators.base import AbstractMixing
from fpa.programs import norm


class AndersonState(eqx.Module):
    """The last iterate, f of it, and `memory` columns of differences, stored as rows of a ring.

    `S` is None for type II, which does without. `gram` holds the products of the rows of S (type I) or Y (type II)
    with those of Y, and `lengths` the norms of both: a row and a column change per iteration, so that S, Y and D are
    read only once.
    """

    z: Float[Array, " z"]
    fz: Float[Array, " z"]
    S: Float[Array, "memory z"] | None
    Y: Float[Array, "memory z"]
    D: Float[Array, "memory z"]
    gram: Float[Array, "memory memory"]
    lengths: Float[Array, "2 memory"]
    count: Int[Array, ""]


class AndersonAcceleration(AbstractMixing):
    """Anderson acceleration of type "I" or "II" with the given memory, at every iteration, without safeguard.

    Without a safeguard it can diverge: see `Safeguarded`. `regularization` is relative to the Frobenius norms of S
    and Y (type I) or of Y alone, squared (type II), and by default 1e-10, or 1.2e-6 in single precision; differences
    no larger than rounding errors are damped as well.
    """

    memory: int = eqx.field(static=True, default=5)
    kind: Literal["I", "II"] = eqx.field(static=True, default="I")
    regularization: float | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.memory < 1:
            raise ValueError(f"AndersonAcceleration: memory must be at least 1, got {self.memory}.")
        if self.kind not in ("I", "II"):
            raise ValueError(f'AndersonAcceleration: kind must be "I" or "II", got {self.kind!r}.')
        if self.regularization is not None and not self.regularization >= 0:
            raise ValueError(f"AndersonAcceleration: regularization must be >= 0, got {self.regularization}.")

    def init(self, op, start=None):
        z = op.initial() if start is None else start
        m, count = self.memory, jnp.zeros((), jnp.int32)
        rows, gram, lengths = (jnp.zeros(shape, z.dtype) for shape in ((m, z.shape[0]), (m, m), (2, m)))
        S = rows if self.kind == "I" else None
        return z, AndersonState(z, jnp.zeros_like(z), S, rows, rows, gram, lengths, count)

    def propose(self, z, fz, state):
        g = z - fz
        state, left = self._remember(z, fz, g, state)
        rounding = 10 * jnp.finfo(z.dtype).eps
        relative = max(1e-10, rounding) if self.regularization is None else self.regularization
        ridge = relative * norm(state.lengths[0]) * norm(state.lengths[1]) + (rounding * norm(z)) ** 2
        diagonal = jnp.where(state.lengths[0] == 0, 1, 0) + ridge
        gamma = jnp.linalg.solve(state.gram + jnp.diag(diagonal), left @ g)
        return fz - gamma @ state.D, state

    def _remember(self, z, fz, g, state):
        """The state with the newest differences in place of the oldest, and S or Y, whichever gamma is found from."""
        row, known = state.count % self.memory, state.count > 0
        s, y, d = (jnp.where(known, v, 0) for v in (z - state.z, g - (state.z - state.fz), fz - state.fz))
        put = lambda old, new, axis=0: jax.lax.dynamic_update_index_in_dim(old, new, row, axis)  # noqa: E731
        S, Y, D = None if state.S is None else put(state.S, s), put(state.Y, y), put(state.D, d)
        left, new = (Y, y) if S is None else (S, s)
        gram = put(put(state.gram, Y @ new), left @ y, 1)
        lengths = put(state.lengths, jnp.stack([norm(new), norm(y)]), 1)
        return AndersonState(z, fz, S, Y, D, gram, lengths, state.count + 1), left
