"""Programs in standard form, their points, and how well a point solves them."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

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


class AbstractProgram(eqx.Module):
    """One optimisation problem: what a solver asks of it."""

    context: eqx.AbstractVar[Array]

    @abstractmethod
    def residuals(self, point: Point) -> Residuals:
        """How far a point is from optimal."""

    @property
    @abstractmethod
    def origin(self) -> Point:
        """The zero point."""

    @abstractmethod
    def outside(self, point: Point) -> Float[Array, ""]:
        """How far s and y are from where they have to lie, relative to the data."""

    @abstractmethod
    def certify(self, raw: Point, tol: float) -> "Certificate":
        """What `raw`, a point without scale, proves to the tolerance `tol`."""


class Certificate(eqx.Module):
    """Whether a program is proved infeasible, or unbounded, and by which point.

    `infeasible_by` has y in K* with A'y = 0 and b'y = -1, `unbounded_by` x and s in K with Ax + s = 0, Px = 0 and
    c'x = -1; the rest is NaN.
    """

    infeasible: Bool[Array, ""]
    unbounded: Bool[Array, ""]
    infeasible_by: Point
    unbounded_by: Point


class ConeProgram(AbstractProgram):
    """One instance of the standard form: minimise x'Px/2 + c'x subject to Ax + s = b, s in K.

    Its dual is: maximise -x'Px/2 - b'y subject to Px + A'y + c = 0, y in K*. `A` is m x n, `b` has length m and `c`
    length n. `P` is n x n, symmetric and positive semidefinite, or None for a linear objective, the paper's form (1).
    `context` is what networks see of the instance, a vector; by default empty. `sparsity` names the entries of A
    that can be nonzero, when they are few; derivatives with respect to the others are then zero.

    Data of several precisions are brought to the highest. Raises ValueError for shapes that do not fit and for data
    that are not finite. Batches come from `jax.vmap`.
    """

    A: Array
    b: Array
    c: Array
    cone: AbstractCone
    context: Array
    sparsity: Sparsity | None
    P: Array | None

    def __init__(self, A, b, c, cone: AbstractCone, context=None, sparsity: Sparsity | None = None, P=None):
        data = {"A": A, "b": b, "c": c} | ({} if P is None else {"P": P})
        data = {name: _floating(name, value) for name, value in data.items()}
        dtype = jnp.result_type(*data.values())
        data = {name: value.astype(dtype) for name, value in data.items()}
        self.A, self.b, self.c, self.P = data["A"], data["b"], data["c"], data.get("P")
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
        if self.P is not None and self.P.shape != (n, n):
            raise ValueError(f"ConeProgram: P must have shape {(n, n)} to fit A of shape {(m, n)}, got {self.P.shape}.")
        if self.P is not None and not isinstance(self.P, Tracer) and not _symmetric(np.asarray(self.P)):
            raise ValueError("ConeProgram: P must be symmetric; give both of its triangles.")
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

        primal = ||Ax + s - b|| / (1 + ||b||), dual = ||Px + A'y + c|| / (1 + ||c||),
        gap = |x'Px + c'x + b'y| / (1 + |x'Px/2 + c'x| + |x'Px/2 + b'y|).
        """
        cx, by = jnp.vdot(self.c, point.x), jnp.vdot(self.b, point.y)
        dual = self.matrix.rmv(point.y) + self.c
        if self.P is not None:
            Px = self.P @ point.x
            half = jnp.vdot(point.x, Px) / 2
            cx, by, dual = half + cx, half + by, Px + dual
        return Residuals(
            primal=norm(self.matrix.mv(point.x) + point.s - self.b) / (1 + norm(self.b)),
            dual=norm(dual) / (1 + norm(self.c)),
            gap=jnp.abs(cx + by) / (1 + jnp.abs(cx) + jnp.abs(by)),
        )

    @property
    def origin(self) -> Point:
        return Point(jnp.zeros_like(self.c), jnp.zeros_like(self.b), jnp.zeros_like(self.b))

    def outside(self, point):
        outside_s = norm(point.s - self.cone.project(point.s)) / (1 + norm(self.b))
        outside_y = norm(point.y - self.cone.project_dual(point.y)) / (1 + norm(self.c))
        return jnp.maximum(outside_s, outside_y)

    def certify(self, raw, tol):
        by, cx = jnp.vdot(self.b, raw.y), jnp.vdot(self.c, raw.x)
        outside_s, outside_y = norm(raw.s - self.cone.project(raw.s)), norm(raw.y - self.cone.project_dual(raw.y))
        recession = norm(self.matrix.mv(raw.x) + raw.s)
        if self.P is not None:
            recession = jnp.maximum(recession, norm(self.P @ raw.x))
        of_y, of_x = -1 / jnp.where(by < 0, by, -1), -1 / jnp.where(cx < 0, cx, -1)
        nan = jnp.array(jnp.nan, self.b.dtype)
        return Certificate(
            infeasible=(by < 0) & (jnp.maximum(norm(self.matrix.rmv(raw.y)), outside_y) <= -tol * by),
            unbounded=(cx < 0) & (jnp.maximum(recession, outside_s) <= -tol * cx),
            infeasible_by=Point(nan * raw.x, of_y * raw.y, nan * raw.s),
            unbounded_by=Point(of_x * raw.x, nan * raw.y, of_x * raw.s),
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


def _symmetric(P: np.ndarray) -> bool:
    return np.allclose(P, P.T, rtol=0, atol=1e-6 * np.abs(P).max(initial=0))


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        index = ", ".join(str(i) for i in bad[0])
        raise ValueError(f"ConeProgram: {name}[{index}] is not finite.")
