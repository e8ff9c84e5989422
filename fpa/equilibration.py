"""Ruiz equilibration of a cone program, and the change of coordinates it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.matrices import AbstractMatrix
from fpa.programs import ConeProgram, Point, norm

_SMALLEST, _LARGEST = 1e-4, 1e4


class Equilibration(eqx.Module):
    """A^ = D A E, b^ = sigma D b, c^ = rho E c, with points x^ = sigma E^-1 x, y^ = rho D^-1 y, s^ = sigma D s.

    `D` (length m) is constant within every second-order and semidefinite cone, so cones are kept. The scalars
    sigma and rho of one instance never multiply A: a fixed A has one equilibration and one factorisation.
    """

    D: Float[Array, " m"]
    E: Float[Array, " n"]
    sigma: Float[Array, ""]
    rho: Float[Array, ""]

    def apply(self, point: Point) -> Point:
        """Original to equilibrated coordinates."""
        return Point(x=self.sigma * point.x / self.E, y=self.rho * point.y / self.D, s=self.sigma * point.s * self.D)

    def invert(self, point: Point) -> Point:
        """Equilibrated to original coordinates."""
        return Point(x=point.x * self.E / self.sigma, y=point.y * self.D / self.rho, s=point.s / self.D / self.sigma)


class Scaled(eqx.Module):
    """Equilibrated data A, b, c and the equilibration that made them."""

    A: AbstractMatrix
    b: Float[Array, " m"]
    c: Float[Array, " n"]
    equilibration: Equilibration


def equilibrate(program: ConeProgram, passes: int = 10) -> Scaled:
    """Ruiz scaling in the infinity norm: every pass divides rows and columns by the root of their largest entry.

    Row scalings are averaged within the cones that couple their entries. Afterwards b and c are scaled to the mean
    column and row length of A^. With `passes=0` nothing is scaled. As in SCS 2.
    """
    matrix, cone = program.matrix, program.cone
    D, E = jnp.ones_like(program.b), jnp.ones_like(program.c)
    if passes == 0:
        one = jnp.ones((), program.b.dtype)
        return Scaled(matrix, program.b, program.c, Equilibration(D, E, one, one))

    def one_pass(carry, _):
        D, E = carry
        scaled = matrix.scale(D, E)
        rows = cone.average(_clip(jnp.sqrt(_positive(scaled.row_norms()))))
        cols = _clip(jnp.sqrt(_positive(scaled.col_norms())))
        return (D / rows, E / cols), None

    (D, E), _ = jax.lax.scan(one_pass, (D, E), length=passes)
    scaled = matrix.scale(D, E)
    sigma = _positive(jnp.mean(scaled.col_lengths())) / jnp.maximum(norm(D * program.b), _SMALLEST)
    rho = _positive(jnp.mean(scaled.row_lengths())) / jnp.maximum(norm(E * program.c), _SMALLEST)
    return Scaled(scaled, sigma * D * program.b, rho * E * program.c, Equilibration(D, E, sigma, rho))


def _positive(norms: Array) -> Array:
    """Replace 0 by 1: empty rows and columns, and an empty matrix, scale nothing."""
    return jnp.where(norms > 0, norms, 1)


def _clip(scales: Array) -> Array:
    return jnp.where(scales < _SMALLEST, 1, jnp.minimum(scales, _LARGEST))
