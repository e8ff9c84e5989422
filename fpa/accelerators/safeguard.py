"""A safeguard around any accelerator."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fpa.accelerators.base import AbstractAccelerator
from fpa.programs import norm


class SafeguardState(eqx.Module):
    """The state of the inner accelerator and what the safeguard remembers.

    `kept` is f(z) of the last accepted iterate, `best` the smallest residual accepted so far, `proposed` whether the
    present iterate is a proposal, `wait` how many plain iterations are left before the next one, and `backoff` how
    many a rejection costs.
    """

    inner: Any
    kept: Float[Array, " z"]
    best: Float[Array, ""]
    proposed: Bool[Array, ""]
    wait: Int[Array, ""]
    backoff: Int[Array, ""]


class Safeguarded(AbstractAccelerator):
    """Plain iteration that tries the proposals of `inner` and keeps those that pay.

    A proposal is rescaled to the size of f(z) where the map is homogeneous (0 is a fixed point of such a map, so
    shrinking must not pay), replaced by f(z) where it is not finite, and accepted only if its residual ||z - f(z)||
    is at most `factor` times the smallest one accepted before. Otherwise the method returns to the f(z) it had kept
    and proposes again after 1, 2, 4, ... plain iterations.

    Guarantee, for factor < 1 and whatever `inner` proposes: if infinitely many proposals are accepted, their
    residuals fall geometrically to 0. If only finitely many are, the rest is plain iteration, interrupted by single
    rejected proposals at exponentially growing distances: k iterations contain at least k - 2 log2(k) - 2 plain ones.
    So the residual converges to 0 wherever that of plain iteration does.
    """

    inner: AbstractAccelerator
    factor: float = eqx.field(static=True, default=0.999)

    def __check_init__(self):
        if not self.factor > 0:
            raise ValueError(f"Safeguarded: factor must be positive, got {self.factor}.")

    def init(self, op, start=None):
        plain = op.initial() if start is None else start
        z, inner = self.inner.init(op, start)
        z, one = _tame(op, z, plain), jnp.ones((), jnp.int32)
        return z, SafeguardState(inner, plain, jnp.full((), jnp.inf, z.dtype), _differ(z, plain), one - 1, one)

    def step(self, op, z, state):
        proposal, inner, fz, point = self.inner.step(op, z, state.inner)
        residual = norm(fz - z)
        accepted = ~state.proposed | (residual <= self.factor * state.best)
        kept = jnp.where(accepted, fz, state.kept)
        asked = accepted & (state.wait == 0)
        z_next = jnp.where(asked, _tame(op, proposal, fz), kept)
        paid = state.proposed & accepted
        return (
            z_next,
            SafeguardState(
                inner=inner,
                kept=kept,
                best=jnp.where(accepted, jnp.minimum(residual, state.best), state.best),
                proposed=_differ(z_next, kept),
                wait=jnp.where(accepted, jnp.maximum(state.wait - 1, 0), state.backoff),
                backoff=jnp.where(accepted, jnp.where(paid, 1, state.backoff), jnp.minimum(2 * state.backoff, 1 << 30)),
            ),
            fz,
            point,
        )

    @property
    def boundaries(self):
        return self.inner.boundaries

    def cross(self, op, z, state, iteration):
        proposal, inner = self.inner.cross(op, z, state.inner, iteration)
        z_next = jnp.where(state.wait == 0, _tame(op, proposal, z), z)
        proposed = state.proposed | _differ(z_next, z)
        return z_next, SafeguardState(inner, state.kept, state.best, proposed, state.wait, state.backoff)


def _tame(op, proposal, plain):
    """The proposal at the size of the plain iterate, or that iterate where the proposal is not finite."""
    scaled = op.rescale(proposal, plain)
    return jnp.where(jnp.all(jnp.isfinite(scaled)), scaled, plain)


def _differ(a, b):
    return jnp.any(a != b)
