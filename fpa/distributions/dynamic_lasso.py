"""A Lasso whose solution moves in time: the linear dynamical system of Section 6.3.2."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions.base import AbstractConeDistribution
from fpa.distributions.fixed_lasso import parts_of_lasso


def dynamic_lasso_problem(p: int, q: int, steps: int, delta: float, beta: float, masked: bool = False):
    """minimise ||H z - g||_2^2 + lam ||z||_1 + ||v||_2 over `steps` states, z_{i+1} = z_i + delta + beta v_i.

    H repeats the q x p matrix F along its diagonal. Parameters are F, g and lam; with `masked` also `support`, of
    length p, which is 1 where the truth moves: there, z_{i+1} = z_i + delta support + beta v_i.
    """
    import cvxpy as cp

    F, g = cp.Parameter((q, p), name="F"), cp.Parameter(q * steps, name="g")
    lam = cp.Parameter(nonneg=True, name="lam")
    move = delta * cp.Parameter(p, name="support") if masked else delta
    z, v = cp.Variable(p * steps, name="z"), cp.Variable(p * (steps - 1), name="v")
    states, noise = ([u[p * i : p * (i + 1)] for i in range(count)] for u, count in ((z, steps), (v, steps - 1)))
    fit = cp.norm2(cp.hstack([F @ state for state in states]) - g) ** 2
    constraints: list[cp.Constraint] = [
        after == before + move + beta * v_i for before, after, v_i in zip(states, states[1:], noise, strict=False)
    ]
    return cp.Problem(cp.Minimize(fit + lam * cp.norm1(z) + cp.norm2(v)), constraints)


class DynamicLasso(AbstractConeDistribution):
    """The dynamic Lasso of Section 6.3.2, with a source matrix `F` (q x p) that is the same for all instances.

    The first truth is that of `Lasso`; with every step its non-zeros grow by `delta`, and g_i = F z_i + noise w_i with
    a fresh w_i. lam = 0.1 ||H'g||_inf. The problem, as printed in the paper, lets *all* coordinates move by delta;
    `masked` lets only those move that do. The paper has 2 and 3 steps, delta = 0.1 and beta = 0.005.
    """

    canonical: Canonical
    F: Float[Array, "q p"]
    steps: int = eqx.field(static=True)
    density: Float[Array, ""]
    noise: Float[Array, ""]
    delta: float = eqx.field(static=True)
    masked: bool = eqx.field(static=True)

    def __init__(
        self,
        F: Array,
        steps: int = 3,
        density: float = 0.1,
        noise: float = 0.1,
        delta: float = 0.1,
        beta: float = 0.005,
        masked: bool = False,
    ):
        if np.ndim(F) != 2 or not np.isfinite(np.asarray(F)).all():
            raise ValueError(f"DynamicLasso: F must be a finite q x p matrix, got shape {np.shape(F)}.")
        if steps < 2:
            raise ValueError(f"DynamicLasso: steps must be at least 2, got {steps}.")
        if not 0 <= density <= 1:
            raise ValueError(f"DynamicLasso: density must lie in [0, 1], got {density}.")
        for name, value in (("noise", noise), ("beta", beta)):
            if not value >= 0:
                raise ValueError(f"DynamicLasso: {name} must not be negative, got {value}.")
        self.F, self.density, self.noise = jnp.asarray(F), jnp.asarray(density, float), jnp.asarray(noise, float)
        self.steps, self.delta, self.masked = steps, delta, masked
        problem = dynamic_lasso_problem(F.shape[1], F.shape[0], steps, delta, beta, masked)
        problem.param_dict["F"].value = np.asarray(F)
        self.canonical = canonicalize(problem, varying=[name for name in problem.param_dict if name != "F"])

    def sample(self, key):
        q, p = self.F.shape
        key_z, key_w = jax.random.split(key)
        _, first, _ = parts_of_lasso(key_z, p, q, self.density)
        support = jnp.where(first != 0, 1.0, 0.0)
        truth = first + self.delta * support * jnp.arange(self.steps)[:, None]
        w = jax.random.normal(key_w, (self.steps, q))
        g = truth @ self.F.T + self.noise * w
        parameters = {"g": g.ravel(), "lam": 0.1 * jnp.max(jnp.abs(g @ self.F))}
        return parameters | ({"support": support} if self.masked else {})
