"""Learned acceleration with intermittent access to the model (Algorithm 2 of the main paper)."""

import equinox as eqx
import jax.numpy as jnp

from fpa.accelerators.base import AbstractAccelerator
from fpa.accelerators.predictions import Correction, Initializer


class Intermittent(AbstractAccelerator):
    """Plain iteration from the iterate of `initializer`, corrected after the iterations in `access`.

    `correction` sees f(z) and the last `history` iterates, padded by repeating the first. The state is those
    iterates, the latest first. A given start replaces the initializer's iterate.
    """

    initializer: Initializer
    correction: Correction
    access: tuple[int, ...] = eqx.field(static=True)
    history: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        if list(self.access) != sorted(set(self.access)) or min(self.access, default=1) < 1:
            raise ValueError(f"Intermittent: access must be increasing and positive, got {self.access}.")
        if self.history < 1:
            raise ValueError(f"Intermittent: history must be at least 1, got {self.history}.")
        if self.correction.stages != len(self.access):
            stages, accesses = self.correction.stages, len(self.access)
            raise ValueError(f"Intermittent: the correction is for {stages} accesses, but there are {accesses}.")

    def init(self, op, start=None):
        z = self.initializer(op) if start is None else start
        return z, jnp.repeat(z[None], self.history, axis=0)

    def step(self, op, z, state):
        fz, point = op(z)
        return fz, jnp.concatenate([z[None], state[:-1]]), fz, point

    @property
    def boundaries(self):
        return self.access

    def cross(self, op, z, state, iteration):
        return self.correction(op, z, state, self.access.index(iteration)), state
