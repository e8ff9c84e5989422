"""First-order maps of composite programs: the proximal gradient step in a diagonal metric, and the subgradient."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.composite import CompositeProgram
from fpa.maps.base import AbstractSplitting, AbstractUnscaledMap
from fpa.programs import Point


class AbstractStepSize(eqx.Module):
    """From a program to the step of the proximal gradient method."""

    @abstractmethod
    def __call__(self, program: CompositeProgram) -> Float[Array, ""]:
        """The step, positive; plain iteration converges below 2 / L."""


class InverseLipschitz(AbstractStepSize):
    """`factor` / L with the Lipschitz constant L of the gradient of f, which is computed."""

    factor: float | Float[Array, ""] = 1.0

    def __check_init__(self):
        if isinstance(self.factor, int | float) and not self.factor > 0:
            raise ValueError(f"InverseLipschitz: factor must be positive, got {self.factor}.")

    def __call__(self, program):
        return self.factor / program.smooth.lipschitz


class ProximalGradient(AbstractSplitting[CompositeProgram]):
    """T(z) = prox_{r,p}(z - p grad f(z)) with p = step 1: iterated plainly ISTA, with Nesterov's momentum FISTA."""

    step: AbstractStepSize = InverseLipschitz()

    def bind(self, program: CompositeProgram) -> "ProximalGradientMap":
        return ProximalGradientMap(program, self.step(program) * jnp.ones_like(program.origin.x))


class ProximalGradientMap(AbstractUnscaledMap[CompositeProgram]):
    """The proximal gradient step of one program in the metric diag(1 / p). Iterates are z = x.

    A point (x, y, s) has x = s = T(z) and for y the subgradient of r that the proximal step has found there.
    """

    program: CompositeProgram
    p: Float[Array, " n"]

    def __call__(self, z):
        return self.backward(z - self.p * self.gradient(z))

    def in_metric(self, p: Float[Array, " n"]) -> "ProximalGradientMap":
        """The same step with other step sizes, one for every coordinate; its fixed points are the same."""
        return ProximalGradientMap(self.program, p)

    def gradient(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """The gradient of the smooth part."""
        return self.program.smooth.gradient(z)

    def backward(self, v: Float[Array, " n"]) -> tuple[Float[Array, " n"], Point]:
        """The proximal step from v, and its point."""
        x = self.program.regularizer.prox(v, self.p)
        return x, Point(x, (v - x) / self.p, x)

    def initial(self):
        return self.program.origin.x

    def lift(self, point, tau=1.0):
        return point.x


class Subgradient(AbstractSplitting[CompositeProgram]):
    """f(z) = z - g with a subgradient g of F at z: the map of methods that follow a direction, such as Adam.

    It is not averaged, and iterated plainly does not converge.
    """

    def bind(self, program: CompositeProgram) -> "SubgradientMap":
        return SubgradientMap(program)


class SubgradientMap(AbstractUnscaledMap[CompositeProgram]):
    """The subgradient step of one program. The point of an application is z itself: f(z) carries only g.

    Its s is where a proximal step would put it, so that a z outside the set of an indicator has a primal residual.
    """

    program: CompositeProgram

    def __call__(self, z):
        return z - self.program.smooth.gradient(z) - self.program.regularizer.subgradient(z), self.at(z)

    def at(self, z: Float[Array, " n"]) -> Point:
        """z as a point."""
        y = self.program.regularizer.subgradient(z)
        return Point(z, y, self.program.regularizer.prox(z + y, jnp.ones_like(z)))

    def initial(self):
        return self.program.origin.x

    def lift(self, point, tau=1.0):
        return point.x
