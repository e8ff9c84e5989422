"""A safeguard around any accelerator."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from fpa.accelerators.base import AbstractAccelerator
from fpa.programs import norm

_PAYS = 0.9
_SPAN = 10


class SafeguardState(eqx.Module):
    """The state of the inner accelerator and what the safeguard remembers.

    `opening` is the first iterate of the inner accelerator and `opens` whether it is still to be tried. `kept` is f(z)
    of the last iterate that counts and `level` the smallest residual of those; `trial` is how many proposals the
    present trial has followed (0: the iterate is a plain one), `allowance` how many it may follow, and `rest` how many
    plain iterations are left before the next one.
    """

    inner: Any
    opening: Float[Array, " z"]
    opens: Bool[Array, ""]
    kept: Float[Array, " z"]
    level: Float[Array, ""]
    trial: Int[Array, ""]
    allowance: Int[Array, ""]
    rest: Int[Array, ""]


class Safeguarded(AbstractAccelerator):
    """Plain iteration that follows `inner` on trial and stays where that pays.

    The residual r is ||z - f(z)|| / tau, and infinite where z stands for no point. (Neither the bare residual nor the
    one divided by ||z|| will do: 0 is a fixed point of a homogeneous map, and from far away the steps look short.) A
    proposal is brought within a factor of 10 of the size of f(z) where the map is homogeneous; where it is zero or not
    finite f(z) takes its place. The first iteration is plain, from the cold start. A *trial* then follows the
    proposals of `inner`, the first iterate of a learned initializer among them. It pays, and goes on from there with a
    fresh allowance, once r is 10 % below `level`, the smallest residual so far. It fails after `patience` iterations
    that do not pay (twice as many in the next trial, until one pays), or at once where r exceeds `factor` times
    `level`. Then the method returns to the f(z) it had kept, and the next trial begins after `1 / share` plain
    iterations for each one lost.

    Guarantee, whatever `inner` proposes: if infinitely many trials pay, residuals fall geometrically to 0. If finitely
    many do, the rest is one unbroken sequence of plain iterations, and what failed trials lose is at most `share` of
    them and one trial. So residuals come arbitrarily close to 0 wherever plain iteration's do, and a hopeless inner
    accelerator costs no more than that.
    """

    inner: AbstractAccelerator
    factor: float = eqx.field(static=True, default=1e4)
    patience: int = eqx.field(static=True, default=10)
    share: float = eqx.field(static=True, default=0.2)

    def __check_init__(self):
        if not self.factor > 0:
            raise ValueError(f"Safeguarded: factor must be positive, got {self.factor}.")
        if not self.patience >= 1:
            raise ValueError(f"Safeguarded: patience must be at least 1, got {self.patience}.")
        if not 0 < self.share <= 1:
            raise ValueError(f"Safeguarded: share must lie in (0, 1], got {self.share}.")

    def init(self, op, start=None):
        plain = op.initial() if start is None else start
        opening, inner = self.inner.init(op, start)
        return plain, SafeguardState(
            inner=inner,
            opening=opening,
            opens=_differ(opening, plain),
            kept=plain,
            level=jnp.full((), jnp.inf, plain.dtype),
            trial=jnp.zeros((), jnp.int32),
            allowance=jnp.full((), self.patience, jnp.int32),
            rest=jnp.zeros((), jnp.int32),
        )

    def step(self, op, z, state):
        proposal, inner, fz, point = self.inner.step(op, z, state.inner)
        proposal = jnp.where(state.opens, state.opening, proposal)
        inner = jax.tree.map(lambda old, new: jnp.where(state.opens, old, new), state.inner, inner)
        residual = _residual(op, z, fz)
        plain = state.trial == 0
        paid = ~plain & (residual <= _PAYS * state.level)
        follow = (residual <= self.factor * state.level) & (state.trial < state.allowance)
        failed = ~plain & ~paid & ~follow
        kept = jnp.where(plain | paid, fz, state.kept)
        rest = jnp.where(failed, self._rest(state.trial), jnp.maximum(state.rest - plain, 0))
        free = ~failed & (rest == 0)
        z_next = jnp.where(failed, state.kept, jnp.where(free, _tame(op, proposal, fz), fz))
        longer = jnp.minimum(2 * state.allowance, 1 << 20)
        followed = jnp.where(plain | paid | failed, 0, state.trial)
        state = SafeguardState(
            inner=inner,
            opening=state.opening,
            opens=jnp.zeros((), bool),
            kept=kept,
            level=jnp.where(plain | paid, jnp.minimum(residual, state.level), state.level),
            trial=followed + (free & _differ(z_next, kept)),
            allowance=jnp.where(failed, longer, jnp.where(paid, self.patience, state.allowance)),
            rest=rest,
        )
        return z_next, state, fz, point

    @property
    def boundaries(self):
        return tuple(b + 1 for b in self.inner.boundaries)

    def cross(self, op, z, state, iteration):
        proposal, inner = self.inner.cross(op, z, state.inner, iteration - 1)
        z_next = jnp.where(state.rest == 0, _tame(op, proposal, z), z)
        trial = jnp.maximum(state.trial, jnp.int32(_differ(z_next, z)))
        return z_next, eqx.tree_at(lambda s: (s.inner, s.trial), state, (inner, trial), is_leaf=lambda x: x is None)

    def _rest(self, lost):
        return jnp.ceil(lost / self.share).astype(jnp.int32)


def _residual(op, z, fz):
    tau, valid = op.scale(z)
    return jnp.where(valid, norm(fz - z) / jnp.where(valid, tau, 1), jnp.inf)


def _tame(op, proposal, plain):
    """The proposal about as large as the plain iterate, or that iterate where the proposal is zero or not finite."""
    size, usual = op.size(proposal), op.size(plain)
    ratio = jnp.clip(size, usual / _SPAN, usual * _SPAN) / _nonzero(size)
    usable = jnp.all(jnp.isfinite(proposal)) & jnp.isfinite(ratio) & jnp.any(proposal != 0)
    return jnp.where(usable, proposal, plain) * jnp.where(usable, ratio, 1)


def _nonzero(size):
    return jnp.where(size > 0, size, 1)


def _differ(a, b):
    return jnp.any(a != b)
