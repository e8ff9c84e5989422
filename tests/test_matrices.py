"""A sparse matrix is the dense one, in every method and derivative, whatever its pattern."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpa.matrices import AbstractMatrix, Dense, Sparse, Sparsity, padded_size


def _with_empty_lines() -> np.ndarray:
    matrix = np.random.default_rng(0).standard_normal((6, 5))
    matrix[[0, 3]], matrix[:, [1, 4]] = 0, 0
    return matrix


PATTERNS = {
    "single": np.array([[2.0]]),
    "wide": np.random.default_rng(1).standard_normal((4, 9)) * (np.random.default_rng(2).random((4, 9)) < 0.3),
    "empty rows and columns": _with_empty_lines(),
    "no entries": np.zeros((3, 2)),
    "one dense row": np.vstack([np.arange(1.0, 7.0), np.eye(5, 6)]),
}


def sparse(matrix: np.ndarray) -> Sparse:
    """The entries in a random order."""
    rows, cols = np.nonzero(matrix)
    order = np.random.default_rng(2).permutation(len(rows))
    rows, cols = rows[order], cols[order]
    return Sparse(jnp.asarray(matrix[rows, cols]), Sparsity(rows, cols, matrix.shape))


def _vectors(matrix: np.ndarray):
    rng = np.random.default_rng(3)
    return rng.standard_normal(matrix.shape[1]), rng.standard_normal(matrix.shape[0])


def _everything(matrix: AbstractMatrix, x, y) -> dict:
    return {
        "mv": matrix.mv(x),
        "rmv": matrix.rmv(y),
        "row_norms": matrix.row_norms(),
        "col_norms": matrix.col_norms(),
        "row_lengths": matrix.row_lengths(),
        "col_lengths": matrix.col_lengths(),
        "dense": matrix.dense(),
        "scaled": matrix.scale(1 + y**2, 1 + x**2).dense(),
        "gram": matrix.gram(1 + y**2),
    }


@eqx.filter_jit
def values_and_gradient(matrix: AbstractMatrix, x, y):
    """Everything at once, and the gradient of one smooth number that depends on all of it."""

    def energy(arguments):
        values = _everything(*arguments)
        return sum(jnp.sum((k + 1) * jnp.sin(value)) for k, value in enumerate(values.values())), values

    (_, values), gradient = eqx.filter_value_and_grad(energy, has_aux=True)((matrix, x, y))
    return values, gradient


@functools.cache
def both(name: str):
    matrix = PATTERNS[name]
    x, y = map(jnp.asarray, _vectors(matrix))
    pair = (Dense(jnp.asarray(matrix)), sparse(matrix))
    return pair[1].sparsity, *jax.device_get([values_and_gradient(member, x, y) for member in pair])


@pytest.mark.parametrize("name", PATTERNS)
def test_dense_methods_are_those_of_numpy(name):
    matrix, (x, y) = PATTERNS[name], _vectors(PATTERNS[name])
    _, (dense, _), _ = both(name)
    expected = {
        "mv": matrix @ x,
        "rmv": matrix.T @ y,
        "row_norms": np.abs(matrix).max(axis=1),
        "col_norms": np.abs(matrix).max(axis=0),
        "row_lengths": np.linalg.norm(matrix, axis=1),
        "col_lengths": np.linalg.norm(matrix, axis=0),
        "dense": matrix,
        "scaled": np.diag(1 + y**2) @ matrix @ np.diag(1 + x**2),
        "gram": matrix.T @ np.diag(1 / (1 + y**2)) @ matrix,
    }
    for method, value in expected.items():
        np.testing.assert_allclose(dense[method], value, rtol=1e-12, atol=1e-14, err_msg=method)


@pytest.mark.parametrize("name", PATTERNS)
def test_sparse_methods_are_those_of_dense(name):
    _, (dense, _), (thin, _) = both(name)
    for method, value in dense.items():
        np.testing.assert_allclose(thin[method], value, rtol=1e-12, atol=1e-14, err_msg=method)


@pytest.mark.parametrize("name", PATTERNS)
def test_sparse_gradients_are_those_of_dense_at_the_entries(name):
    pattern, (_, (dense, *dense_vectors)), (_, (thin, *thin_vectors)) = both(name)
    assert np.isfinite(dense.values).all() and np.isfinite(thin.entries).all()
    np.testing.assert_allclose(thin.entries, dense.values[pattern.rows, pattern.cols], rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(thin_vectors, dense_vectors, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_pairs_are_all_pairs_of_entries_in_a_row():
    pattern = sparse(PATTERNS["wide"]).sparsity
    rows = np.asarray(pattern.rows)
    expected = {(a, b) for a in range(len(rows)) for b in range(len(rows)) if rows[a] == rows[b]}
    assert set(zip(*np.asarray(pattern.pairs).tolist(), strict=True)) == expected
    assert pattern.pairs.shape == (2, len(expected))


@pytest.mark.parametrize("name", PATTERNS)
def test_a_sparse_gram_matrix_is_symmetric_to_the_bit(name):
    _, _, (thin, _) = both(name)
    np.testing.assert_array_equal(thin["gram"], thin["gram"].T)


def test_padded_lists_hold_every_entry_once_and_count_the_work():
    matrix = PATTERNS["one dense row"]
    pattern = sparse(matrix).sparsity
    nnz = np.count_nonzero(matrix)
    for lists, owner in ((pattern.by_row, pattern.rows), (pattern.by_col, pattern.cols)):
        held = [[k for k in line if k < nnz] for line in np.asarray(lists)]
        assert sorted(k for line in held for k in line) == list(range(nnz))
        assert all(int(owner[k]) == line for line, entries in enumerate(held) for k in entries)
    assert pattern.by_row.shape == (6, 6) and pattern.by_col.shape == (6, 2)
    assert padded_size(np.asarray(pattern.rows), np.asarray(pattern.cols), matrix.shape) == 36 + 12


def test_a_batch_shares_the_pattern():
    """Entries get a batch axis and the pattern none, so its gathers are the same for all."""
    matrix, factors = sparse(PATTERNS["wide"]), np.arange(1.0, 4.0)
    entries_only = eqx.tree_at(
        lambda axes: axes.entries, jax.tree.map(lambda _: None, matrix), 0, is_leaf=lambda x: x is None
    )

    @jax.jit
    @functools.partial(jax.vmap, out_axes=(entries_only, 0))
    def scaled(factor):
        member = Sparse(factor * matrix.entries, matrix.sparsity)
        return member, member.mv(jnp.ones(9))

    batch, products = scaled(factors)
    assert batch.entries.shape == (3, *matrix.entries.shape)
    np.testing.assert_allclose(products, np.outer(factors, PATTERNS["wide"].sum(axis=1)), rtol=1e-13)
