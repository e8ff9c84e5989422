"""The data matrix A as an operator: dense, or sparse with a fixed pattern.

A first-order method touches A only through products, row and column norms, diagonal scalings and A'WA.
`Sparse` keeps the nonzero entries with *padded* index lists, one short row of indices per matrix row and per
column, so that a product is a few gathers: on CPU, batched, this is an order of magnitude faster than both the
dense product and a coordinate format when rows are short.
"""

import functools
from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class AbstractMatrix(eqx.Module):
    """A matrix with m rows and n columns."""

    @abstractmethod
    def mv(self, x: Float[Array, " n"]) -> Float[Array, " m"]:
        """A x."""

    @abstractmethod
    def rmv(self, y: Float[Array, " m"]) -> Float[Array, " n"]:
        """A' y."""

    @abstractmethod
    def row_norms(self) -> Float[Array, " m"]:
        """Largest absolute value in each row."""

    @abstractmethod
    def col_norms(self) -> Float[Array, " n"]:
        """Largest absolute value in each column."""

    @abstractmethod
    def row_lengths(self) -> Float[Array, " m"]:
        """Euclidean norm of each row."""

    @abstractmethod
    def col_lengths(self) -> Float[Array, " n"]:
        """Euclidean norm of each column."""

    @abstractmethod
    def scale(self, rows: Float[Array, " m"], cols: Float[Array, " n"]) -> "AbstractMatrix":
        """diag(rows) A diag(cols)."""

    @abstractmethod
    def gram(self, R: Float[Array, " m"]) -> Float[Array, "n n"]:
        """A' diag(R)^-1 A."""

    @abstractmethod
    def dense(self) -> Float[Array, "m n"]:
        """A as an array."""


class Dense(AbstractMatrix):
    """A dense matrix."""

    values: Float[Array, "m n"]

    def mv(self, x):
        return self.values @ x

    def rmv(self, y):
        return self.values.T @ y

    def row_norms(self):
        return jnp.max(jnp.abs(self.values), axis=1, initial=0)

    def col_norms(self):
        return jnp.max(jnp.abs(self.values), axis=0, initial=0)

    def row_lengths(self):
        return _root(jnp.sum(self.values**2, axis=1))

    def col_lengths(self):
        return _root(jnp.sum(self.values**2, axis=0))

    def scale(self, rows, cols):
        return Dense(rows[:, None] * self.values * cols)

    def gram(self, R):
        return (self.values.T / R) @ self.values

    def dense(self):
        return self.values


class Sparsity(eqx.Module):
    """The positions of the nonzero entries of an m x n matrix.

    Entry k stands at `(rows[k], cols[k])`. `by_row[i]` lists the entries of row i and `by_col[j]` those of
    column j, padded with the number of entries. `pairs` are the pairs of entries in a common row, which make A'WA.
    """

    rows: Int[Array, " nnz"]
    cols: Int[Array, " nnz"]
    by_row: Int[Array, "m row_width"]
    by_col: Int[Array, "n col_width"]
    pairs: Int[Array, "2 pairs"]

    def __init__(self, rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]):
        self.rows, self.cols = jnp.asarray(rows, jnp.int32), jnp.asarray(cols, jnp.int32)
        self.by_row = jnp.asarray(_padded_lists(rows, shape[0]))
        self.by_col = jnp.asarray(_padded_lists(cols, shape[1]))
        self.pairs = jnp.asarray(_pairs(rows, shape[0]))


def padded_size(rows: np.ndarray, cols: np.ndarray, shape: tuple[int, int]) -> int:
    """How many products one application of A and one of A' would cost with these nonzero entries."""
    return sum(count * _width(owner, count) for owner, count in zip((rows, cols), shape, strict=True))


def _width(owner: np.ndarray, count: int) -> int:
    return max(int(np.bincount(owner, minlength=count).max(initial=0)), 1)


def _padded_lists(owner: np.ndarray, count: int) -> np.ndarray:
    """For each of `count` owners the positions k with owner[k] equal to it, padded with len(owner)."""
    order, lengths, starts = _sorted(owner, count)
    slot = np.arange(len(owner)) - np.repeat(starts, lengths)
    lists = np.full((count, _width(owner, count)), len(owner), np.int32)
    lists[owner[order], slot] = order
    return lists


def _pairs(owner: np.ndarray, count: int) -> np.ndarray:
    """All pairs of positions with the same owner, in both orders and with themselves."""
    order, lengths, starts = _sorted(owner, count)
    partners, first = lengths[owner[order]], starts[owner[order]]
    within = np.arange(partners.sum()) - np.repeat(np.cumsum(partners) - partners, partners)
    return np.stack([np.repeat(order, partners), order[np.repeat(first, partners) + within]]).astype(np.int32)


def _sorted(owner: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions ordered by owner; of each owner how many it has, and where they start in that order."""
    lengths = np.bincount(owner, minlength=count)
    return np.argsort(owner, kind="stable"), lengths, np.cumsum(lengths) - lengths


class Sparse(AbstractMatrix):
    """A matrix with the given nonzero entries."""

    entries: Float[Array, " nnz"]
    sparsity: Sparsity

    def mv(self, x):
        return self._gather(self.sparsity.by_row, self.sparsity.cols, x)

    def rmv(self, y):
        return self._gather(self.sparsity.by_col, self.sparsity.rows, y)

    def row_norms(self):
        return jnp.max(jnp.abs(_pad(self.entries)[self.sparsity.by_row]), axis=1)

    def col_norms(self):
        return jnp.max(jnp.abs(_pad(self.entries)[self.sparsity.by_col]), axis=1)

    def row_lengths(self):
        return _root(jnp.sum(_pad(self.entries)[self.sparsity.by_row] ** 2, axis=1))

    def col_lengths(self):
        return _root(jnp.sum(_pad(self.entries)[self.sparsity.by_col] ** 2, axis=1))

    def scale(self, rows, cols):
        return Sparse(rows[self.sparsity.rows] * self.entries * cols[self.sparsity.cols], self.sparsity)

    def gram(self, R):
        rows, cols, (one, other) = self.sparsity.rows, self.sparsity.cols, self.sparsity.pairs
        n = self.sparsity.by_col.shape[0]
        products = self.entries[one] * self.entries[other] / R[rows[one]]
        return jnp.zeros((n, n), products.dtype).at[cols[one], cols[other]].add(products)

    def dense(self):
        shape = (self.sparsity.by_row.shape[0], self.sparsity.by_col.shape[0])
        return jnp.zeros(shape, self.entries.dtype).at[self.sparsity.rows, self.sparsity.cols].set(self.entries)

    def _gather(self, lists, partners, v):
        values, partners = _pad(self.entries), _pad(partners)
        width = lists.shape[1]
        terms = [values[lists[:, k]] * v[partners[lists[:, k]]] for k in range(width)]
        return functools.reduce(jnp.add, terms)


def _pad(values: Array) -> Array:
    return jnp.concatenate([values, jnp.zeros((1,), values.dtype)])


def _root(squares: Array) -> Array:
    """Square root with derivative 0 at 0."""
    zero = squares == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squares)))
