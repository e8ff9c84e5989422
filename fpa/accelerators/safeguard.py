"""A safeguard around any accelerator."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fpa.accelerators.base import AbstractAccelerator
from fpa.programs import norm

_PAYS = 0.9


class SafeguardState(eqx.Module):
    """The state of the inner accelerator and what the safeguard remembers.

    `kept` is f(z) of the last accepted iterate, `best` the smallest residual accepted and `level` the smallest one of
    a plain iteration or a proposal that paid; `unpaid` counts accepted proposals since one paid; `proposed` says
    whether the present iterate is a proposal; `wait` is how many plain iterations are left before the next one, and
    `backoff` how many a rejection costs.
    """

    inner: Any
    kept: Float[Array, " z"]
    best: Float[Array, ""]
    level: Float[Array, ""]
    unpaid: Int[Array, ""]
    proposed: Bool[Array, ""]
    wait: Int[Array, ""]
    backoff: Int[Array, ""]


class Safeguarded(AbstractAccelerator):
    """Plain iteration that tries the proposals of `inner` and keeps those that pay.

    The residual r is ||z - f(z)||, divided by ||z|| where the map is homogeneous: 0 is a fixed point of such a map, so
    shrinking must not pay. A proposal is rescaled to the size of f(z) there, and replaced by f(z) where it is zero or
    not finite. It pays if r is 10 % below `level`, the smallest residual of plain iterations and of proposals that
    paid. It is accepted if r is at most `factor` times the smallest residual accepted so far, and if it pays or fewer
    than `patience` proposals were accepted since one paid. Otherwise the method returns to the f(z) it had kept and
    proposes again after 1, 2, 4, ... plain iterations, counted anew after a proposal that pays.

    Guarantee, whatever `inner` proposes: if infinitely many proposals are accepted, one in every `patience + 1` pays
    and lowers `level` by 10 %, so that residuals fall geometrically to 0. If only finitely many are, the rest is plain
    iteration, interrupted by single rejected proposals at exponentially growing distances: k iterations contain at
    least k - 2 log2(k) - 2 plain ones. So residuals come arbitrarily close to 0 wherever plain iteration's do.
    """

    inner: AbstractAccelerator
    factor: float = eqx.field(static=True, default=2.0)
    patience: int = eqx.field(static=True, default=10)

    def __check_init__(self):
        if not self.factor > 0:
            raise ValueError(f"Safeguarded: factor must be positive, got {self.factor}.")
        if not self.patience >= 0:
            raise ValueError(f"Safeguarded: patience must not be negative, got {self.patience}.")

    def init(self, op, start=None):
        plain = op.initial() if start is None else start
        z, inner = self.inner.init(op, start)
        z, zero, infinite = _tame(op, z, plain), jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, z.dtype)
        return z, SafeguardState(inner, plain, infinite, infinite, zero, _differ(z, plain), zero, zero + 1)

    def step(self, op, z, state):
        proposal, inner, fz, point = self.inner.step(op, z, state.inner)
        residual = norm(fz - z) / _nonzero(op.size(z))
        pays = residual <= _PAYS * state.level
        tolerable = (residual <= self.factor * state.best) & (pays | (state.unpaid < self.patience))
        accepted = ~state.proposed | tolerable
        paid = state.proposed & tolerable & pays
        kept = jnp.where(accepted, fz, state.kept)
        z_next = jnp.where(accepted & (state.wait == 0), _tame(op, proposal, fz), kept)
        longer = jnp.minimum(2 * state.backoff, 1 << 30)
        state = SafeguardState(
            inner=inner,
            kept=kept,
            best=jnp.where(accepted, jnp.minimum(residual, state.best), state.best),
            level=jnp.where(paid | ~state.proposed, jnp.minimum(residual, state.level), state.level),
            unpaid=jnp.where(paid, 0, state.unpaid + (state.proposed & accepted)),
            proposed=_differ(z_next, kept),
            wait=jnp.where(accepted, jnp.maximum(state.wait - 1, 0), state.backoff),
            backoff=jnp.where(paid, 1, jnp.where(accepted, state.backoff, longer)),
        )
        return z_next, state, fz, point

    @property
    def boundaries(self):
        return self.inner.boundaries

    def cross(self, op, z, state, iteration):
        proposal, inner = self.inner.cross(op, z, state.inner, iteration)
        z_next = jnp.where(state.wait == 0, _tame(op, proposal, z), z)
        updated = (inner, state.proposed | _differ(z_next, z))
        return z_next, eqx.tree_at(lambda s: (s.inner, s.proposed), state, updated, is_leaf=lambda x: x is None)


def _tame(op, proposal, plain):
    """The proposal at the size of the plain iterate, or that iterate where the proposal is zero or not finite."""
    ratio = op.size(plain) / _nonzero(op.size(proposal))
    usable = jnp.all(jnp.isfinite(proposal)) & jnp.isfinite(ratio) & jnp.any(proposal != 0)
    tame = jnp.where(usable, proposal, plain)
    return tame * (op.size(plain) / _nonzero(op.size(tame)))


def _nonzero(size):
    return jnp.where(size > 0, size, 1)


def _differ(a, b):
    return jnp.any(a != b)
