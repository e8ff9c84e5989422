"""One accelerator first, another one after."""

from typing import Any

import equinox as eqx

from fpa.accelerators.base import AbstractAccelerator


class SwitchState(eqx.Module):
    """The state of the part that is at work."""

    inner: Any
    switched: bool = eqx.field(static=True)


class Switch(AbstractAccelerator):
    """`first` for `after` iterations, then `second`, started from the iterate reached."""

    first: AbstractAccelerator
    after: int = eqx.field(static=True)
    second: AbstractAccelerator

    def __check_init__(self):
        if self.after < 1:
            raise ValueError(f"Switch: after must be at least 1, got {self.after}.")

    def init(self, op, start=None):
        z, inner = self.first.init(op, start)
        return z, SwitchState(inner, False)

    def step(self, op, z, state):
        part = self.second if state.switched else self.first
        z, inner, fz, point = part.step(op, z, state.inner)
        return z, SwitchState(inner, state.switched), fz, point

    @property
    def boundaries(self):
        early = tuple(b for b in self.first.boundaries if b < self.after)
        return (*early, self.after, *(self.after + b for b in self.second.boundaries))

    def cross(self, op, z, state, iteration):
        if iteration < self.after:
            z, inner = self.first.cross(op, z, state.inner, iteration)
        elif iteration == self.after:
            z, inner = self.second.init(op, z)
        else:
            z, inner = self.second.cross(op, z, state.inner, iteration - self.after)
        return z, SwitchState(inner, iteration >= self.after)
