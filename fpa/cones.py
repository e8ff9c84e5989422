"""Convex cones and their Euclidean projections.

Every projection is differentiable everywhere: at a kink the derivative is a member of the generalised
Jacobian, never NaN. Vectors follow the conventions of SCS: a second-order cone is `(t, x)` with
`||x|| <= t`; a positive semidefinite matrix is the scaled lower triangle (`svec`), column by column.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import accumulate

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class AbstractCone(eqx.Module):
    """A closed convex cone in R^dim."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of the vectors in the cone."""

    @abstractmethod
    def project(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """Euclidean projection of `v` on the cone."""

    @abstractmethod
    def project_dual(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """Euclidean projection of `v` on the dual cone, `v + project(-v)` by Moreau's theorem."""

    @property
    @abstractmethod
    def equalities(self) -> np.ndarray:
        """Which of the `dim` entries belong to a zero cone, a Boolean array."""

    @abstractmethod
    def average(self, scaling: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """The nearest diagonal scaling that maps the cone to itself: averaged where the cone couples entries."""


def _check_size(cone: str, what: str, value: int) -> int:
    if int(value) != value or value < 1:
        raise ValueError(f"{cone}: {what} must be a positive integer, got {value!r}.")
    return int(value)


class Zero(AbstractCone):
    """The cone {0}; its dual is the whole space."""

    size: int = eqx.field(static=True)

    def __init__(self, size: int):
        self.size = _check_size("Zero", "size", size)

    @property
    def dim(self) -> int:
        return self.size

    @property
    def equalities(self):
        return np.ones(self.dim, bool)

    def project(self, v):
        return jnp.zeros_like(v)

    def project_dual(self, v):
        return v

    def average(self, scaling):
        return scaling


class NonNegative(AbstractCone):
    """The nonnegative orthant."""

    size: int = eqx.field(static=True)

    def __init__(self, size: int):
        self.size = _check_size("NonNegative", "size", size)

    @property
    def dim(self) -> int:
        return self.size

    @property
    def equalities(self):
        return np.zeros(self.dim, bool)

    def project(self, v):
        return jnp.where(v > 0, v, 0)

    def project_dual(self, v):
        return self.project(v)

    def average(self, scaling):
        return scaling


class SecondOrder(AbstractCone):
    """The second-order cone {(t, x): ||x||_2 <= t}; size 1 is the nonnegative half-line."""

    size: int = eqx.field(static=True)

    def __init__(self, size: int):
        self.size = _check_size("SecondOrder", "size", size)

    @property
    def dim(self) -> int:
        return self.size

    @property
    def equalities(self):
        return np.zeros(self.dim, bool)

    def project(self, v):
        t, x = v[0], v[1:]
        squared = jnp.sum(x * x)
        norm = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
        outside = norm > jnp.abs(t)
        half = (t + norm) / 2
        boundary = jnp.concatenate([half[None], half / jnp.where(outside, norm, 1) * x])
        return jnp.where(outside, boundary, jnp.where(t > 0, v, 0))

    def project_dual(self, v):
        return self.project(v)

    def average(self, scaling):
        return jnp.full_like(scaling, jnp.mean(scaling))


class PositiveSemidefinite(AbstractCone):
    """Symmetric positive semidefinite matrices of the given order, as `svec`.

    `svec` stacks the lower triangle column by column with off-diagonal entries times sqrt(2), so that inner
    products agree with those of the matrices.
    """

    order: int = eqx.field(static=True)

    def __init__(self, order: int):
        self.order = _check_size("PositiveSemidefinite", "order", order)

    @property
    def dim(self) -> int:
        return self.order * (self.order + 1) // 2

    @property
    def equalities(self):
        return np.zeros(self.dim, bool)

    def project(self, v):
        return matrix_to_svec(_project_psd(svec_to_matrix(v, self.order)))

    def project_dual(self, v):
        return self.project(v)

    def average(self, scaling):
        return jnp.full_like(scaling, jnp.mean(scaling))


def _lower_triangle(order: int) -> tuple[np.ndarray, np.ndarray]:
    cols, rows = np.triu_indices(order)
    return rows, cols


def svec_to_matrix(v: Float[Array, " dim"], order: int) -> Float[Array, "order order"]:
    """The symmetric matrix whose scaled lower triangle, column by column, is `v`."""
    rows, cols = _lower_triangle(order)
    entries = v * np.where(rows == cols, 1.0, np.sqrt(0.5)).astype(v.dtype)
    return jnp.zeros((order, order), v.dtype).at[rows, cols].set(entries).at[cols, rows].set(entries)


def matrix_to_svec(matrix: Float[Array, "order order"]) -> Float[Array, " dim"]:
    """The inverse of `svec_to_matrix`."""
    rows, cols = _lower_triangle(matrix.shape[0])
    return matrix[rows, cols] * np.where(rows == cols, 1.0, np.sqrt(2.0)).astype(matrix.dtype)


@jax.custom_jvp
def _project_psd(matrix: Float[Array, "k k"]) -> Float[Array, "k k"]:
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.maximum(values, 0)) @ vectors.T


@_project_psd.defjvp
def _project_psd_jvp(primals, tangents):
    """Daleckii-Krein: the derivative is B * dM in the eigenbasis, with divided differences B of max(., 0).

    For eigenvalues of one sign B is exactly 0 or 1, so repeated eigenvalues never divide by zero.
    """
    (matrix,), (tangent,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrix)
    positive = jnp.maximum(values, 0)
    gap = jnp.abs(values)[:, None] + jnp.abs(values)[None, :]
    mixed = (values[:, None] > 0) != (values[None, :] > 0)
    ratio = (positive[:, None] + positive[None, :]) / jnp.where(mixed & (gap > 0), gap, 1)
    divided = jnp.where(mixed, ratio, ((values[:, None] > 0) & (values[None, :] > 0)).astype(matrix.dtype))
    inner = vectors.T @ tangent @ vectors
    return (vectors * positive) @ vectors.T, vectors @ (divided * inner) @ vectors.T


class Product(AbstractCone):
    """The Cartesian product of cones. Equal cones are projected together, as one vectorised call."""

    cones: tuple[AbstractCone, ...]

    def __init__(self, cones: Sequence[AbstractCone]):
        self.cones = tuple(cones)

    @property
    def dim(self) -> int:
        return sum(cone.dim for cone in self.cones)

    @property
    def equalities(self):
        return np.concatenate([np.zeros(0, bool), *(cone.equalities for cone in self.cones)])

    def project(self, v):
        return self._blockwise(lambda cone: cone.project, v)

    def project_dual(self, v):
        return self._blockwise(lambda cone: cone.project_dual, v)

    def average(self, scaling):
        return self._blockwise(lambda cone: cone.average, scaling)

    def _blockwise(self, method, v):
        if v.shape != (self.dim,):
            raise ValueError(f"Product: expected a vector of length {self.dim}, got shape {v.shape}.")
        groups = _groups(self.cones)
        if not groups:
            return v
        parts = [jax.vmap(method(cone))(_take(v, indices)).ravel() for cone, indices in groups]
        order = np.concatenate([indices.ravel() for _, indices in groups])
        joined = jnp.concatenate(parts)
        return joined if _consecutive(order) else joined[np.argsort(order)]


def _groups(cones: tuple[AbstractCone, ...]) -> list[tuple[AbstractCone, np.ndarray]]:
    """Equal cones together, each with the (count, dim) indices of its copies."""
    starts = accumulate((cone.dim for cone in cones), initial=0)
    groups: dict[AbstractCone, list[np.ndarray]] = {}
    for cone, start in zip(cones, starts, strict=False):
        groups.setdefault(cone, []).append(np.arange(start, start + cone.dim))
    return [(cone, np.stack(indices)) for cone, indices in groups.items()]


def _consecutive(indices: np.ndarray) -> bool:
    return bool(np.all(np.diff(indices) == 1))


def _take(v: Array, indices: np.ndarray) -> Array:
    flat = indices.ravel()
    part = v[flat[0] : flat[-1] + 1] if _consecutive(flat) else v[flat]
    return part.reshape(indices.shape)
