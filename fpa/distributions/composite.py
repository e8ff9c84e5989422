"""Distributions of composite programs: sparse coding and sparse logistic regression, synthetic and on data."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.composite import CompositeProgram
from fpa.distributions.base import AbstractDistribution, Parameters
from fpa.functions import L1, LeastSquares, Logistic, Multinomial


class AbstractCompositeDistribution(AbstractDistribution):
    """A family of composite programs. Networks see iterates and gradients alone, so its context is empty."""

    @abstractmethod
    def program(self, parameters: Parameters) -> CompositeProgram:
        """The composite program of one instance."""

    def context(self, parameters):
        return jnp.zeros((0,))


class SparseCoding(AbstractCompositeDistribution):
    """minimise ||A x - b||^2 / 2 + weight ||x||_1 with a new A in every instance (Liu et al., 2023, Appendix E).

    A is m x n, normal with columns of length 1; b = A x0 without noise, x0 with `nonzeros` standard normal entries.
    The paper has m = 250, n = 500 and 50 nonzeros.
    """

    m: int = eqx.field(static=True, default=250)
    n: int = eqx.field(static=True, default=500)
    nonzeros: int = eqx.field(static=True, default=50)
    weight: float = eqx.field(static=True, default=0.1)

    def __check_init__(self):
        _check_sizes(type(self).__name__, self.m, self.n, self.nonzeros, self.weight)

    def sample(self, key):
        key_A, key_x = jax.random.split(key)
        A = jax.random.normal(key_A, (self.m, self.n))
        A = A / jnp.linalg.norm(A, axis=0)
        return {"A": A, "b": A @ _sparse(key_x, self.n, self.nonzeros)}

    def program(self, parameters):
        return CompositeProgram(LeastSquares(parameters["A"], parameters["b"]), L1(self.weight))


class SparseLogistic(AbstractCompositeDistribution):
    """minimise the mean cross-entropy of (A, y) plus weight ||x||_1 (Liu et al., 2023, Appendix E).

    A is m x n, standard normal; y = 1 where A x0 >= 0, where x0 has `nonzeros` standard normal entries.
    """

    m: int = eqx.field(static=True, default=1000)
    n: int = eqx.field(static=True, default=50)
    nonzeros: int = eqx.field(static=True, default=20)
    weight: float = eqx.field(static=True, default=0.1)

    def __check_init__(self):
        _check_sizes(type(self).__name__, self.m, self.n, self.nonzeros, self.weight)

    def sample(self, key):
        key_A, key_x = jax.random.split(key)
        A = jax.random.normal(key_A, (self.m, self.n))
        return {"A": A, "y": (A @ _sparse(key_x, self.n, self.nonzeros) >= 0).astype(A.dtype)}

    def program(self, parameters):
        return CompositeProgram(Logistic(parameters["A"], parameters["y"]), L1(self.weight))


class ImagePatches(AbstractCompositeDistribution):
    """minimise ||A x - b||^2 / 2 + weight ||x||_1 for b drawn from the rows of `signals`, with one dictionary A."""

    A: Float[Array, "m n"]
    signals: Float[Array, "count m"]
    weight: float = eqx.field(static=True, default=0.5)

    def sample(self, key):
        return {"b": self.signals[jax.random.randint(key, (), 0, self.signals.shape[0])]}

    def program(self, parameters):
        return CompositeProgram(LeastSquares(self.A, parameters["b"]), L1(self.weight))


class LabelledData(AbstractCompositeDistribution):
    """minimise the mean cross-entropy of one data set plus weight ||x||_1; every instance is the same.

    `labels` are 0 or 1, or one-hot rows, with which x is a matrix, row by row.
    """

    A: Float[Array, "m n"]
    labels: Float[Array, "m *k"]
    weight: float = eqx.field(static=True, default=0.1)

    def sample(self, key):
        return {"labels": self.labels}

    def program(self, parameters):
        labels = parameters["labels"]
        smooth = Logistic(self.A, labels) if labels.ndim == 1 else Multinomial(self.A, labels)
        return CompositeProgram(smooth, L1(self.weight))


def _sparse(key: PRNGKeyArray, n: int, nonzeros: int) -> Float[Array, " n"]:
    key_where, key_values = jax.random.split(key)
    chosen = jax.random.permutation(key_where, n) < nonzeros
    return jnp.where(chosen, jax.random.normal(key_values, (n,)), 0)


def _check_sizes(name: str, m: int, n: int, nonzeros: int, weight: float) -> None:
    if min(m, n) < 1:
        raise ValueError(f"{name}: m and n must be positive, got m={m}, n={n}.")
    if not 0 <= nonzeros <= n:
        raise ValueError(f"{name}: nonzeros must lie between 0 and n = {n}, got {nonzeros}.")
    if not weight >= 0:
        raise ValueError(f"{name}: weight must not be negative, got {weight}.")
