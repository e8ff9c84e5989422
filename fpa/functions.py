"""The two halves of a composite objective: smooth functions of a linear predictor, and functions with a proximal step.

The proximal step is taken in a diagonal metric: prox_{r,p}(v) = argmin_u r(u) + sum_i (u_i - v_i)^2 / (2 p_i), with one
positive p_i per coordinate (Liu et al., 2023, Appendix D; Park et al., 2020).
"""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.programs import norm

_NEWTON = 12


class AbstractSmooth(eqx.Module):
    """A convex function with a Lipschitz continuous gradient, f(x) = loss(A x)."""

    A: eqx.AbstractVar[Float[Array, "m n"]]

    @property
    @abstractmethod
    def size(self) -> int:
        """The length of x."""

    @abstractmethod
    def value(self, x: Float[Array, " size"]) -> Float[Array, ""]:
        """f(x)."""

    @abstractmethod
    def gradient(self, x: Float[Array, " size"]) -> Float[Array, " size"]:
        """The gradient at x: one product with A and one with its transpose."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """An upper bound on the eigenvalues of the Hessian of the loss, the smallest that holds everywhere."""

    @property
    def lipschitz(self) -> Float[Array, ""]:
        """The Lipschitz constant of the gradient, L = curvature ||A||_2^2, to rounding."""
        m, n = self.A.shape
        gram = self.A @ self.A.T if m < n else self.A.T @ self.A
        return self.curvature * jnp.linalg.eigvalsh(jax.lax.stop_gradient(gram))[-1]


class LeastSquares(AbstractSmooth):
    """||A x - b||_2^2 / 2."""

    A: Float[Array, "m n"]
    b: Float[Array, " m"]

    @property
    def size(self):
        return self.A.shape[1]

    def value(self, x):
        return jnp.sum((self.A @ x - self.b) ** 2) / 2

    def gradient(self, x):
        return self.A.T @ (self.A @ x - self.b)

    @property
    def curvature(self):
        return 1.0


class Logistic(AbstractSmooth):
    """Mean cross-entropy of labels y in {0, 1} with probabilities 1 / (1 + exp(-A x)); no intercept."""

    A: Float[Array, "m n"]
    y: Float[Array, " m"]

    @property
    def size(self):
        return self.A.shape[1]

    def value(self, x):
        logits = self.A @ x
        return jnp.mean(jax.nn.softplus(logits) - self.y * logits)

    def gradient(self, x):
        return self.A.T @ (jax.nn.sigmoid(self.A @ x) - self.y) / self.A.shape[0]

    @property
    def curvature(self):
        return 1 / (4 * self.A.shape[0])


class Multinomial(AbstractSmooth):
    """Mean cross-entropy of one-hot labels Y (m x k) with the softmax of A X; x is X (n x k), row by row."""

    A: Float[Array, "m n"]
    Y: Float[Array, "m k"]

    @property
    def size(self):
        return self.A.shape[1] * self.Y.shape[1]

    def value(self, x):
        logits = self.A @ self._matrix(x)
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.sum(self.Y * logits, axis=1))

    def gradient(self, x):
        surplus = jax.nn.softmax(self.A @ self._matrix(x), axis=1) - self.Y
        return (self.A.T @ surplus).ravel() / self.A.shape[0]

    @property
    def curvature(self):
        return 1 / (2 * self.A.shape[0])

    def _matrix(self, x):
        return x.reshape(self.A.shape[1], self.Y.shape[1])


class AbstractProximable(eqx.Module):
    """A convex function r with an explicit proximal step in any diagonal metric."""

    @abstractmethod
    def value(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        """r(x), and 0 for the indicator of a set, whose points `prox` returns."""

    @abstractmethod
    def prox(self, v: Float[Array, " n"], p: Float[Array, " n"]) -> Float[Array, " n"]:
        """prox_{r,p}(v), for positive p."""

    @abstractmethod
    def subgradient(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """A subgradient at x, 0 where there is a choice; for the indicator of a set 0, so what follows it may leave."""


class L1(AbstractProximable):
    """weight ||x||_1."""

    weight: float | Float[Array, ""]

    def value(self, x):
        return self.weight * jnp.sum(jnp.abs(x))

    def prox(self, v, p):
        return jnp.sign(v) * jnp.maximum(jnp.abs(v) - self.weight * p, 0)

    def subgradient(self, x):
        return self.weight * jnp.sign(x)


class Box(AbstractProximable):
    """The indicator of lower <= x <= upper, either of which may be infinite."""

    lower: float | Float[Array, " n"]
    upper: float | Float[Array, " n"]

    def __check_init__(self):
        numbers = isinstance(self.lower, int | float) and isinstance(self.upper, int | float)
        if numbers and not self.lower <= self.upper:
            raise ValueError(f"Box: lower must not exceed upper, got {self.lower} and {self.upper}.")

    def value(self, x):
        return jnp.zeros((), x.dtype)

    def prox(self, v, p):
        return jnp.clip(v, self.lower, self.upper)

    def subgradient(self, x):
        return jnp.zeros_like(x)


def nonnegativity() -> Box:
    """The indicator of x >= 0."""
    return Box(0.0, jnp.inf)


class Simplex(AbstractProximable):
    """The indicator of {x >= 0, sum(x) = total}."""

    total: float | Float[Array, ""] = 1.0

    def __check_init__(self):
        if isinstance(self.total, int | float) and not self.total > 0:
            raise ValueError(f"Simplex: total must be positive, got {self.total}.")

    def value(self, x):
        return jnp.zeros((), x.dtype)

    def prox(self, v, p):
        """max(v - mu p, 0) with the mu that gives the sum; v_i is kept where v_i / p_i exceeds mu."""
        order = jnp.argsort(-v / p)
        mu = (jnp.cumsum(v[order]) - self.total) / jnp.cumsum(p[order])
        kept = jnp.sum((v / p)[order] > mu)
        return jnp.maximum(v - mu[kept - 1] * p, 0)

    def subgradient(self, x):
        return jnp.zeros_like(x)


class GroupL2(AbstractProximable):
    """weight times the sum of the Euclidean norms of consecutive groups of `group` coordinates (group Lasso)."""

    weight: float | Float[Array, ""]
    group: int = eqx.field(static=True)

    def __check_init__(self):
        if self.group < 1:
            raise ValueError(f"GroupL2: group must be at least 1, got {self.group}.")

    def value(self, x):
        return self.weight * jnp.sum(jax.vmap(norm)(self._groups(x)))

    def prox(self, v, p):
        return jax.vmap(self._shrink)(self._groups(v), self._groups(p)).ravel()

    def subgradient(self, x):
        lengths = jax.vmap(norm)(self._groups(x))[:, None]
        return (self.weight * self._groups(x) / jnp.where(lengths > 0, lengths, 1)).ravel()

    def _groups(self, x):
        if x.shape[0] % self.group:
            raise ValueError(f"GroupL2: {x.shape[0]} coordinates do not divide into groups of {self.group}.")
        return x.reshape(-1, self.group)

    def _shrink(self, v, p):
        """u = t v / (t + weight p), where the length t of u makes ||v / (t + weight p)|| = 1, or 0 where none does.

        1 / ||v / (t + weight p)|| is concave in t, so Newton's method climbs to 1; the last step carries derivatives.
        """
        threshold = self.weight * p
        alive = norm(v / threshold) > 1
        v = jnp.where(alive, v, 2 * threshold)  # any group that has a solution, so that no NaN flows back

        def newton(t, v, threshold):
            ratio = v / (t + threshold)
            squared = jnp.sum(ratio**2)
            slope = jnp.sum(ratio**2 / (t + threshold)) / squared
            return t + (jnp.sqrt(squared) - 1) / slope

        start = jnp.maximum(norm(v) - jnp.max(threshold), 0)
        held = jax.lax.stop_gradient((v, threshold))
        t = jax.lax.fori_loop(0, _NEWTON, lambda _, t: newton(t, *held), jax.lax.stop_gradient(start))
        t = newton(jax.lax.stop_gradient(t), v, threshold)
        return jnp.where(alive, t * v / (t + threshold), 0)
