"""Where the coordinates of an iterate belong, so that networks can share weights.

Programs repeat themselves: over time steps, over features, over observations. A layout arranges the coordinates
w = (x, y, s) / tau of the SCS map, of length n + 2m, in *groups*, tables of sites by channels: coordinates of one
channel play the same part at every site. What belongs to no table goes into a last group of one site.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fpa.canonicalize import Canonical

Labels = Mapping[str, np.ndarray]


class Layout(eqx.Module):
    """Groups of coordinates: `groups[g][site, channel]` is a position in w. Every position occurs exactly once."""

    groups: tuple[Int[Array, "sites channels"], ...]
    place: Int[Array, " w"]

    def __init__(self, groups: Sequence[np.ndarray]):
        order = np.concatenate([np.ravel(group) for group in groups])
        if not np.array_equal(np.sort(order), np.arange(order.size)):
            raise ValueError("Layout: every coordinate has to stand in exactly one place.")
        self.groups = tuple(jnp.asarray(group, jnp.int32) for group in groups)
        self.place = jnp.asarray(np.argsort(order), jnp.int32)

    @property
    def size(self) -> int:
        """The length of w."""
        return self.place.shape[0]

    def gather(self, vectors: Float[Array, "k w"]) -> list[Float[Array, "_ _"]]:
        """Vectors of w's length as one table per group, their channels side by side."""
        tables = [jnp.moveaxis(vectors[:, group], 0, 1) for group in self.groups]
        return [table.reshape(table.shape[0], -1) for table in tables]

    def scatter(self, tables: Sequence[Float[Array, "_ _"]]) -> Float[Array, " w"]:
        """The inverse of `gather` for a single vector."""
        return jnp.concatenate([table.ravel() for table in tables])[self.place]


def flat_layout(size: int) -> Layout:
    """All coordinates as channels of one site: nothing is shared."""
    return Layout([np.arange(size)[None]])


class _Graph(NamedTuple):
    """The sparsity pattern of A as index lists, which cone couples each row with which, and m and n."""

    rows: np.ndarray
    cols: np.ndarray
    cones: np.ndarray
    m: int
    n: int


def site_layout(canonical: Canonical, families: Sequence[Labels]) -> Layout:
    """The layout in which every family of labels is a group.

    A family names CVXPY variables or parameters and gives each of their entries a site, an integer. The label of a
    variable holds for its columns, that of a parameter for the rows of b that it enters; the rest follows along the
    sparsity pattern of A and through cones that couple rows: what has no label takes the smallest of those it is
    connected to, unless they are more than two. Sites that do not look like the majority, at the ends of time say,
    join the last group.

    Raises ValueError for a name that is neither a variable nor a parameter, and for labels of another shape.
    """
    graph = _graph(canonical)
    free = np.ones(graph.n + 2 * graph.m, bool)
    groups = []
    for labels in families:
        given = _given(canonical, graph, labels)
        table = _table(graph, given, _spread(graph, *given))
        table = table[free[table].all(axis=1)]
        free[table] = False
        groups.append(table)
    rest = np.flatnonzero(free)
    return Layout([*groups, rest[None]] if rest.size else groups)


def _graph(canonical: Canonical) -> _Graph:
    m, n = canonical.b.base.shape[0], canonical.c.base.shape[0]
    cols, rows = np.divmod(np.flatnonzero((np.asarray(canonical.A.base) != 0) | _varies(canonical.A)), m)
    draws = np.random.default_rng(0).random((2, m))  # two, as single precision has few different numbers
    coupled = np.stack([np.asarray(canonical.cone.average(jnp.asarray(draw))) for draw in draws])
    return _Graph(rows, cols, np.unique(coupled, axis=1, return_inverse=True)[1].ravel(), m, n)


def _varies(affine) -> np.ndarray:
    return np.asarray(affine.slot) < affine.positions.shape[0]


def _given(canonical: Canonical, graph: _Graph, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """The labels of columns and rows that a family states itself; -1 elsewhere."""
    columns, rows = np.full(graph.n, -1), np.full(graph.m, -1)
    start, starts = 0, {}
    for name, shape in canonical.shapes.items():
        starts[name] = start
        start += int(np.prod(shape))
    for name, sites in labels.items():
        sites = np.asarray(sites)
        if name in canonical.variables:
            recovery = canonical.variables[name]
            _check_shape(name, recovery.shape, sites)
            columns[recovery.start : recovery.stop] = sites.ravel(order="F")
        elif name in starts:
            _check_shape(name, canonical.shapes[name], sites)
            rows = np.maximum(rows, _entered(canonical.b, starts[name], sites.ravel(order="F")))
        else:
            known = [*canonical.variables, *canonical.shapes]
            raise ValueError(f"site_layout: there is no variable or parameter {name!r}; there are {known}.")
    return columns, rows


def _check_shape(name: str, shape: tuple[int, ...], sites: np.ndarray) -> None:
    if sites.shape != shape:
        raise ValueError(f"site_layout: the labels of {name!r} must have its shape {shape}, got {sites.shape}.")


def _entered(affine, start: int, sites: np.ndarray) -> np.ndarray:
    """For each output of an affine map, the label of the parameter entry that it contains, or -1."""
    label = np.full(affine.slot.shape[0], -1)
    slot, coefficients = np.asarray(affine.slot), np.asarray(affine.coefficients)
    for output in np.flatnonzero(_varies(affine)):
        position = np.asarray(affine.positions)[slot[output]] - start
        inside = (position >= 0) & (position < sites.size) & (coefficients[slot[output]] != 0)
        label[output] = sites[position[inside]].min() if inside.any() else -1
    return label


def _spread(graph: _Graph, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels handed on between columns, rows and cones until nothing changes."""
    everyone = np.arange(graph.m)
    while True:
        before = columns, rows
        rows = _adopt(rows, graph.rows, columns[graph.cols])
        columns = _adopt(columns, graph.cols, rows[graph.rows])
        cones = _adopt(np.full(graph.m, -1), graph.cones, rows)
        rows = _adopt(rows, everyone, cones[graph.cones])
        if np.array_equal(before[0], columns) and np.array_equal(before[1], rows):
            return columns, rows


def _adopt(labels: np.ndarray, owner: np.ndarray, met: np.ndarray) -> np.ndarray:
    """`labels`, with the smallest label met by each owner that has none and meets one or two."""
    pairs = np.unique(np.stack([owner[met >= 0], met[met >= 0]], axis=1), axis=0)
    count = np.bincount(pairs[:, 0], minlength=labels.size)
    lowest = np.full(labels.size, -1)
    lowest[pairs[::-1, 0]] = pairs[::-1, 1]
    return np.where((labels < 0) & (count > 0) & (count <= 2), lowest, labels)


def _table(graph: _Graph, given: tuple[np.ndarray, ...], labels: tuple[np.ndarray, ...]) -> np.ndarray:
    """One line per site of the commonest make: its columns as x, its rows as y and as s; the named ones first."""
    sites = [site for site in np.unique(np.concatenate(labels)).tolist() if site >= 0]
    parts = [[_members(*pair, site) for pair in zip(given, labels, strict=True)] for site in sites]
    makes = [(columns.size, rows.size) for columns, rows in parts]
    if not makes:
        return np.zeros((0, 0), int)
    usual = max(set(makes), key=makes.count)
    chosen = [part for part, make in zip(parts, makes, strict=True) if make == usual]
    return np.stack([np.concatenate([columns, graph.n + rows, graph.n + graph.m + rows]) for columns, rows in chosen])


def _members(given: np.ndarray, labels: np.ndarray, site: int) -> np.ndarray:
    found = np.flatnonzero(labels == site)
    return np.concatenate([found[given[found] >= 0], found[given[found] < 0]])
