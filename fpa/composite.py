"""Composite programs: a smooth function plus one with a proximal step."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.functions import AbstractProximable, AbstractSmooth
from fpa.programs import AbstractProgram, Certificate, Point, Residuals, norm


class CompositeProgram(AbstractProgram):
    """One instance of: minimise F(x) = f(x) + r(x).

    Read as minimise f(x) + r(s) subject to x = s, it has points (x, y, s) like a cone program, all of length n: y is
    the multiplier, at a solution minus the gradient of f and a subgradient of r at s.
    """

    smooth: AbstractSmooth
    regularizer: AbstractProximable
    context: Array

    def __init__(self, smooth: AbstractSmooth, regularizer: AbstractProximable, context: Array | None = None):
        self.smooth, self.regularizer = smooth, regularizer
        self.context = jnp.zeros((0,), smooth.A.dtype) if context is None else context

    def value(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        """F(x); the indicator of a set counts 0."""
        return self.smooth.value(x) + self.regularizer.value(x)

    def residuals(self, point: Point) -> Residuals:
        """Relative residuals of the optimality conditions, in the Euclidean norm.

        primal = ||x - s|| / (1 + ||x||), dual = ||grad f(x) + y|| / (1 + ||grad f(0)||) and
        gap = |x'(grad f(x) + y)| / (1 + |F(x)|), for a conic f + r the duality gap.
        """
        left = self.smooth.gradient(point.x) + point.y
        reference = self.smooth.gradient(jnp.zeros_like(point.x))
        return Residuals(
            primal=norm(point.x - point.s) / (1 + norm(point.x)),
            dual=norm(left) / (1 + norm(reference)),
            gap=jnp.abs(jnp.vdot(point.x, left)) / (1 + jnp.abs(self.value(point.x))),
        )

    @property
    def origin(self) -> Point:
        zero = jnp.zeros((self.smooth.size,), self.smooth.A.dtype)
        return Point(zero, zero, zero)

    def outside(self, point: Point) -> Float[Array, ""]:
        """How far y is from the subgradients of r at s: ||s - prox_r(s + y)|| / (1 + ||s||)."""
        proximal = self.regularizer.prox(point.s + point.y, jnp.ones_like(point.s))
        return norm(point.s - proximal) / (1 + norm(point.s))

    def certify(self, raw: Point, tol: float) -> Certificate:
        """Proves nothing: the families of the study have solutions."""
        no, nothing = jnp.zeros((), bool), jnp.full_like(raw.x, jnp.nan)
        unknown = Point(nothing, nothing, nothing)
        return Certificate(no, no, unknown, unknown)
