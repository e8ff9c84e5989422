"""What a splitting and its fixed-point map are."""

from abc import abstractmethod
from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from fpa.programs import AbstractProgram, Point, norm

Program = TypeVar("Program", bound=AbstractProgram)


class AbstractFixedPointMap(eqx.Module, Generic[Program]):
    """A fixed-point map f(.; phi) bound to one program. Its iterate z is one vector."""

    program: eqx.AbstractVar[Program]

    @abstractmethod
    def __call__(self, z: Float[Array, " z"]) -> tuple[Float[Array, " z"], Point]:
        """One application: f(z), and the point of the original program that f(z) stands for."""

    @abstractmethod
    def initial(self) -> Float[Array, " z"]:
        """The cold start."""

    @abstractmethod
    def lift(self, point: Point, tau: Float[Array, ""] | float) -> Float[Array, " z"]:
        """An iterate of scale `tau` that stands for `point`; the inverse of reading a point."""

    @abstractmethod
    def coordinates(self, z: Float[Array, " z"]) -> Float[Array, " w"]:
        """What networks see of z: its scale and what follows from the rest left out; 0 where z stands for no point."""

    @abstractmethod
    def defect(self, w: Float[Array, " w"]) -> Float[Array, "d w"]:
        """What is left of the optimality conditions at w, and the map's linear answer to it, in w's places."""

    @property
    @abstractmethod
    def data(self) -> Float[Array, "e w"]:
        """The problem's data as the map sees them, and the map's linear answer to them, in w's places."""

    @property
    @abstractmethod
    def scales(self) -> Float[Array, " k"]:
        """Logarithms of the numbers by which this instance was scaled."""

    @abstractmethod
    def enter(self, w: Float[Array, " w"], tau: Float[Array, ""] | float) -> Float[Array, " z"]:
        """The iterate of scale `tau` with the given coordinates; the inverse of `coordinates`."""

    @abstractmethod
    def scale(self, z: Float[Array, " z"]) -> tuple[Float[Array, ""], Bool[Array, ""]]:
        """The homogeneous scale tau of z (1 for a map without one), and whether z stands for a point at all."""

    @abstractmethod
    def size(self, z: Float[Array, " z"]) -> Float[Array, ""]:
        """The length of z where the map is homogeneous, so that size has no meaning; else 1."""

    @abstractmethod
    def residual(self, z: Float[Array, " z"], fz: Float[Array, " z"]) -> Float[Array, ""]:
        """The method's own fixed-point residual, from z and f(z)."""

    @abstractmethod
    def residual_normalized(self, z: Float[Array, " z"], fz: Float[Array, " z"]) -> Float[Array, ""]:
        """The fixed-point residual after division by tau: no number is bought with a small tau."""

    @abstractmethod
    def certificate(self, z: Float[Array, " z"]) -> Point:
        """The point of z *without* division by tau: where tau vanishes, a certificate of infeasibility."""


class AbstractUnscaledMap(AbstractFixedPointMap[Program]):
    """A map without a homogeneous scale: every iterate stands for a point, and networks see it as it is."""

    def coordinates(self, z):
        return z

    def enter(self, w, tau):
        return w

    def defect(self, w):
        """The step that the map takes from w."""
        return (self(w)[0] - w)[None]

    @property
    def data(self):
        """What the map makes of the cold start."""
        return self(self.initial())[0][None]

    @property
    def scales(self):
        return self.initial()[:0]

    def scale(self, z):
        return jnp.ones((), z.dtype), jnp.ones((), bool)

    def size(self, z):
        return jnp.ones((), z.dtype)

    def residual(self, z, fz):
        return norm(fz - z)

    def residual_normalized(self, z, fz):
        return norm(fz - z)

    def certificate(self, z):
        """The zero point, which proves nothing: programs without a solution end inaccurate."""
        return self.program.origin


class AbstractSplitting(eqx.Module, Generic[Program]):
    """How a program becomes a fixed-point problem."""

    @abstractmethod
    def bind(self, program: Program) -> AbstractFixedPointMap[Program]:
        """Equilibrate and factorise once; the result is applied many times."""
