"""Small composite programs and their registries; a new function joins a list and inherits the laws."""

import jax
import jax.numpy as jnp
import numpy as np

from fpa.composite import CompositeProgram
from fpa.distributions import ImagePatches, LabelledData, SparseCoding, SparseLogistic
from fpa.functions import (
    L1,
    AbstractProximable,
    AbstractSmooth,
    Box,
    GroupL2,
    LeastSquares,
    Logistic,
    Multinomial,
    Simplex,
    nonnegativity,
)

DIM = 6


def _normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def _one_hot(rows: int, classes: int) -> jax.Array:
    return jnp.eye(classes)[np.arange(rows) % classes]


SMOOTHS: dict[str, AbstractSmooth] = {
    "least-squares-wide": LeastSquares(_normal(0, 4, DIM), _normal(1, 4)),
    "least-squares-tall": LeastSquares(_normal(2, 9, DIM), _normal(3, 9)),
    "logistic": Logistic(_normal(4, 20, DIM), (_normal(5, 20) > 0).astype(float)),
    "multinomial": Multinomial(_normal(6, 20, 2), _one_hot(20, 3)),
}
PROXIMABLES: dict[str, AbstractProximable] = {
    "l1": L1(0.3),
    "nonnegative": nonnegativity(),
    "box": Box(-0.5, jnp.linspace(0, 1, DIM)),
    "simplex": Simplex(2.0),
    "group-l2": GroupL2(0.4, 3),
    "group-l2-of-one": GroupL2(0.4, 1),
}
PROGRAMS = {
    f"{f}-{r}": CompositeProgram(SMOOTHS[f], PROXIMABLES[r])
    for f, r in [
        ("least-squares-wide", "l1"),
        ("least-squares-tall", "simplex"),
        ("logistic", "group-l2"),
        ("logistic", "box"),
        ("multinomial", "l1"),
        ("least-squares-tall", "nonnegative"),
    ]
}
COMPOSITE_DISTRIBUTIONS = {
    "sparse-coding": SparseCoding(8, 12, 3),
    "sparse-logistic": SparseLogistic(30, 5, 2),
    "patches": ImagePatches(_normal(7, 4, 9), _normal(8, 20, 4), 0.1),
    "labelled": LabelledData(_normal(9, 15, 4), (_normal(10, 15) > 0).astype(float)),
    "one-hot": LabelledData(_normal(11, 15, 4), _one_hot(15, 3)),
}
