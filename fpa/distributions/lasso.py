"""The Lasso."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions.base import AbstractConeDistribution

Parts = tuple[Float[Array, "q p"], Float[Array, " p"], Float[Array, " q"]]


def lasso_problem(p: int, q: int):
    """minimise ||F z - g||_2^2 + mu ||z||_1 over z in R^p, with Parameters F (q x p), g and mu, in CVXPY."""
    import cvxpy as cp

    F, g, mu = cp.Parameter((q, p), name="F"), cp.Parameter(q, name="g"), cp.Parameter(nonneg=True, name="mu")
    z = cp.Variable(p, name="z")
    return cp.Problem(cp.Minimize(cp.norm2(F @ z - g) ** 2 + mu * cp.norm1(z)))


class Lasso(AbstractConeDistribution):
    """The Lasso family of Section 3.3 (O'Donoghue et al., 2016).

    F has standard normal entries; the truth z* too, with a random share `1 - density` of them set to 0;
    g = F z* + noise w with w standard normal; mu = 0.1 ||F'g||_inf. The paper has p = 50, q = 100.
    """

    canonical: Canonical
    p: int = eqx.field(static=True)
    q: int = eqx.field(static=True)
    density: Float[Array, ""]
    noise: Float[Array, ""]

    def __init__(
        self,
        p: int = 50,
        q: int = 100,
        density: float | Float[Array, ""] = 0.1,
        noise: float | Float[Array, ""] = 0.1,
    ):
        if min(p, q) < 1:
            raise ValueError(f"Lasso: p and q must be positive, got p={p}, q={q}.")
        if not 0 <= density <= 1:
            raise ValueError(f"Lasso: density must lie in [0, 1], got {density}.")
        if not noise >= 0:
            raise ValueError(f"Lasso: noise must not be negative, got {noise}.")
        self.p, self.q = p, q
        self.density, self.noise = jnp.asarray(density, float), jnp.asarray(noise, float)
        self.canonical = canonicalize(lasso_problem(p, q))

    def sample(self, key):
        F, z, w = parts_of_lasso(key, self.p, self.q, self.density)
        g = F @ z + self.noise * w
        return {"F": F, "g": g, "mu": 0.1 * jnp.max(jnp.abs(F.T @ g))}


def parts_of_lasso(key: PRNGKeyArray, p: int, q: int, density: Float[Array, ""]) -> Parts:
    """The source F, the truth z and the noise w (standard normal) of an instance."""
    key_F, key_z, key_zeros, key_w = jax.random.split(key, 4)
    nonzeros = jnp.ceil(density * p * (1 - 1e-6))  # 0.3 * 10 may be a little more than 3
    z = jnp.where(jax.random.permutation(key_zeros, p) < p - nonzeros, 0, jax.random.normal(key_z, (p,)))
    return jax.random.normal(key_F, (q, p)), z, jax.random.normal(key_w, (q,))
