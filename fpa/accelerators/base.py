"""What an accelerator is: how a fixed-point map is iterated."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from fpa.maps import AbstractFixedPointMap
from fpa.programs import Point

State = Any
Iterate = Float[Array, " z"]


class AbstractAccelerator(eqx.Module):
    """Generates the iterates z_0, z_1, ... of a fixed-point map `op`.

    Everything that happens at one particular iteration happens at a *boundary*: the solver scans `step` between
    boundaries and calls `cross` at them, where the structure of the state may change. Most accelerators have none.
    """

    @abstractmethod
    def init(self, op: AbstractFixedPointMap, start: Iterate | None = None) -> tuple[Iterate, State]:
        """The first iterate (g_init; `start` where given) and the first state."""

    @abstractmethod
    def step(self, op: AbstractFixedPointMap, z: Iterate, state: State) -> tuple[Iterate, State, Iterate, Point]:
        """One iteration from z: `(z_next, state, f(z), point of f(z))`."""

    @property
    @abstractmethod
    def boundaries(self) -> tuple[int, ...]:
        """The iterations t after which `cross` is called, increasing."""

    @abstractmethod
    def cross(self, op: AbstractFixedPointMap, z: Iterate, state: State, iteration: int) -> tuple[Iterate, State]:
        """What happens at the boundary after `iteration` steps."""


class AbstractSteady(AbstractAccelerator):
    """An accelerator that does the same at every iteration: it has no boundaries."""

    @property
    def boundaries(self):
        return ()

    def cross(self, op, z, state, iteration):
        return z, state


class AbstractMixing(AbstractSteady):
    """An accelerator that applies f once per step and then mixes what it knows into the next iterate."""

    @abstractmethod
    def propose(self, z: Iterate, fz: Iterate, state: State) -> tuple[Iterate, State]:
        """The next iterate from z, f(z) and the state."""

    def step(self, op, z, state):
        fz, point = op(z)
        z_next, state = self.propose(z, fz, state)
        return z_next, state, fz, point
