"""Cone programs in standard form, their points, and how well a point solves them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from fpa.cones import AbstractCone
from fpa.matrices import AbstractMatrix, Dense, Sparse, Sparsity


class Point(eqx.Module):
    """A primal-dual point: x of length n, dual y and slack s of length m."""

    x: Float[Array, " n"]
    y: Float[Array, " m"]
    s: Float[Array, " m"]


class Residuals(eqx.Module):
    """Relative violation of the optimality conditions; s in K and y in K* are not part of it."""

    primal: Float[Array, ""]
    dual: Float[Array, ""]
    gap: Float[Array, ""]

    @property
    def worst(self) -> Float[Array, ""]:
        """The largest of the three."""
        return jnp.maximum(jnp.maximum(self.primal, self.dual), self.gap)


class ConeProgram(eqx.Module):
    """One instance of the standard form (1): minimise c'x subject to Ax + s = b, s in K.

    Its dual is: maximise -b'y subject to A'y + c = 0, y in K*. `A` is m x n, `b` has length m and `c` length n.
    `context` is what networks see of the instance, a vector; by default empty. `sparsity` names the entries of A
    that can be nonzero, when they are few; derivatives with respect to the others are then zero.

    Raises ValueError for shapes that do not fit and for data that are not finite. Batches come from `jax.vmap`.
    """

    A: Array
    b: Array
    c: Array
    cone: AbstractCone
    context: Array
    sparsity: Sparsity | None

    def __init__(self, A, b, c, cone: AbstractCone, context=None, sparsity: Sparsity | None = None):
        self.A, self.b, self.c = _floating("A", A), _floating("b", b), _floating("c", c)
        self.cone = cone
        self.context = jnp.zeros((0,), self.b.dtype) if context is None else _floating("context", context)
        self.sparsity = sparsity
        self._check_shapes()

    def _check_shapes(self):
        if self.A.ndim != 2:
            raise ValueError(f"ConeProgram: A must be a matrix, got shape {self.A.shape}.")
        m, n = self.A.shape
        for name, value, length in (("b", self.b, m), ("c", self.c, n)):
            if value.shape != (length,):
                raise ValueError(
                    f"ConeProgram: {name} must have shape ({length},) to fit A of shape {(m, n)}, got {value.shape}."
                )
        if self.cone.dim != m:
            raise ValueError(f"ConeProgram: the cone has dimension {self.cone.dim}, but A has {m} rows.")

    @property
    def matrix(self) -> AbstractMatrix:
        """A as an operator."""
        if self.sparsity is None:
            return Dense(self.A)
        return Sparse(self.A[self.sparsity.rows, self.sparsity.cols], self.sparsity)

    def residuals(self, point: Point) -> Residuals:
        """Relative primal and dual residuals and duality gap of a point, in the Euclidean norm.

        primal = ||Ax + s - b|| / (1 + ||b||), dual = ||A'y + c|| / (1 + ||c||),
        gap = |c'x + b'y| / (1 + |c'x| + |b'y|).
        """
        cx, by = jnp.vdot(self.c, point.x), jnp.vdot(self.b, point.y)
        return Residuals(
            primal=norm(self.matrix.mv(point.x) + point.s - self.b) / (1 + norm(self.b)),
            dual=norm(self.matrix.rmv(point.y) + self.c) / (1 + norm(self.c)),
            gap=jnp.abs(cx + by) / (1 + jnp.abs(cx) + jnp.abs(by)),
        )


def norm(v: Float[Array, " k"]) -> Float[Array, ""]:
    """Euclidean norm, with derivative 0 at 0; NaN if any entry is."""
    squared = jnp.sum(v * v)
    zero = squared == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squared)))


def _floating(name: str, value) -> Array:
    """`value` as a floating-point array; concrete data must be finite."""
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    if not isinstance(array, Tracer):
        _check_finite(name, np.asarray(array))
    return array


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        index = ", ".join(str(i) for i in bad[0])
        raise ValueError(f"ConeProgram: {name}[{index}] is not finite.")
