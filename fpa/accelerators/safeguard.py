"""A safeguard around any accelerator."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fpa.accelerators.base import AbstractAccelerator
from fpa.programs import norm


class SafeguardState(eqx.Module):
    """The state of the inner accelerator and what the safeguard remembers.

    `kept` is f(z) of the last accepted iterate; `first` and `best` are the first and the smallest residual accepted,
    `accepted` counts accepted proposals; `proposed` says whether the present iterate is a proposal; `wait` is how
    many plain iterations are left before the next one, and `backoff` how many a rejection costs.
    """

    inner: Any
    kept: Float[Array, " z"]
    first: Float[Array, ""]
    best: Float[Array, ""]
    accepted: Int[Array, ""]
    proposed: Bool[Array, ""]
    wait: Int[Array, ""]
    backoff: Int[Array, ""]


class Safeguarded(AbstractAccelerator):
    """Plain iteration that tries the proposals of `inner` and keeps those that pay.

    A proposal is rescaled to the size of f(z) where the map is homogeneous (0 is a fixed point of such a map, so
    shrinking must not pay) and replaced by f(z) where it is not finite. After j accepted proposals, the next one is
    accepted only if its residual r = ||z - f(z)|| satisfies

        r <= factor * best    and    r <= 10 factor * first / (j + 1).

    Otherwise the method returns to the f(z) it had kept and proposes again after 1, 2, 4, ... plain iterations.

    Guarantee, whatever `inner` proposes: if infinitely many proposals are accepted, their residuals fall to 0 by the
    second inequality (that of Zhang, O'Donoghue and Boyd, 2020). If only finitely many are, the rest is plain
    iteration, interrupted by single rejected proposals at exponentially growing distances: k iterations contain at
    least k - 2 log2(k) - 2 plain ones. So residuals come arbitrarily close to 0 wherever plain iteration's do.
    """

    inner: AbstractAccelerator
    factor: float = eqx.field(static=True, default=2.0)

    def __check_init__(self):
        if not self.factor > 0:
            raise ValueError(f"Safeguarded: factor must be positive, got {self.factor}.")

    def init(self, op, start=None):
        plain = op.initial() if start is None else start
        z, inner = self.inner.init(op, start)
        z, zero, infinite = _tame(op, z, plain), jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, z.dtype)
        return z, SafeguardState(inner, plain, infinite, infinite, zero, _differ(z, plain), zero, zero + 1)

    def step(self, op, z, state):
        proposal, inner, fz, point = self.inner.step(op, z, state.inner)
        residual = norm(fz - z)
        limit = jnp.minimum(state.best, 10 * state.first / (state.accepted + 1))
        accepted = ~state.proposed | (residual <= self.factor * limit)
        paid = state.proposed & accepted
        kept = jnp.where(accepted, fz, state.kept)
        z_next = jnp.where(accepted & (state.wait == 0), _tame(op, proposal, fz), kept)
        patience = jnp.where(paid, 1, state.backoff)
        state = SafeguardState(
            inner=inner,
            kept=kept,
            first=jnp.where(jnp.isfinite(state.first), state.first, residual),
            best=jnp.where(accepted, jnp.minimum(residual, state.best), state.best),
            accepted=state.accepted + paid,
            proposed=_differ(z_next, kept),
            wait=jnp.where(accepted, jnp.maximum(state.wait - 1, 0), state.backoff),
            backoff=jnp.where(accepted, patience, jnp.minimum(2 * state.backoff, 1 << 30)),
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
    """The proposal at the size of the plain iterate, or that iterate where the proposal is not finite."""
    scaled = op.rescale(proposal, plain)
    return jnp.where(jnp.all(jnp.isfinite(scaled)), scaled, plain)


def _differ(a, b):
    return jnp.any(a != b)
