"""Robust Kalman filtering."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions.base import AbstractConeDistribution


def dynamics(dt: float, gamma: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drift F (4 x 4), input G (4 x 2) and observation H (2 x 4) of Appendix A: position and velocity in the plane."""
    one, zero = np.eye(2), np.zeros((2, 2))
    F = np.block([[one, (1 - gamma / 2 * dt) * dt * one], [zero, (1 - gamma * dt) * one]])
    return F, np.vstack([dt**2 / 2 * one, dt * one]), np.hstack([one, zero])


def kalman_problem(num_steps: int, horizon: float, mu: float, rho: float):
    """minimise sum ||w_t||^2 + mu huber_rho(||v_t||) subject to the dynamics, with Parameter y (2 x num_steps)."""
    import cvxpy as cp

    F, G, H = dynamics(horizon / (num_steps - 1))
    y = cp.Parameter((2, num_steps), name="y")
    x = cp.Variable((4, num_steps + 1), name="x")
    w, v = cp.Variable((2, num_steps), name="w"), cp.Variable((2, num_steps), name="v")
    robust = sum(mu * cp.huber(cp.norm(v[:, t]), rho) for t in range(num_steps))  # pyright: ignore[reportArgumentType]
    constraints = []
    for t in range(num_steps):
        constraints += [x[:, t + 1] == F @ x[:, t] + G @ w[:, t], y[:, t] == H @ x[:, t] + v[:, t]]
    return cp.Problem(cp.Minimize(cp.sum_squares(w) + robust), constraints)


class RobustKalman(AbstractConeDistribution):
    """Tracking a vehicle from noisy positions, some of them outliers (Section 3.3, Appendix A).

    Input and measurement noise are standard normal; with probability `outliers` the noise of a step is 20 times as
    large. Only the measurements y vary. The paper has 50 steps over a horizon of 12 and mu = rho = 2.
    """

    canonical: Canonical
    num_steps: int = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    outliers: float = eqx.field(static=True)

    def __init__(
        self, num_steps: int = 50, horizon: float = 12.0, mu: float = 2.0, rho: float = 2.0, outliers: float = 0.2
    ):
        if num_steps < 2:
            raise ValueError(f"RobustKalman: num_steps must be at least 2, got {num_steps}.")
        if not 0 <= outliers <= 1:
            raise ValueError(f"RobustKalman: outliers must lie in [0, 1], got {outliers}.")
        for name, value in (("horizon", horizon), ("mu", mu), ("rho", rho)):
            if not value > 0:
                raise ValueError(f"RobustKalman: {name} must be positive, got {value}.")
        self.num_steps, self.horizon, self.outliers = num_steps, horizon, outliers
        self.canonical = canonicalize(kalman_problem(num_steps, horizon, mu, rho))

    def sample(self, key):
        key_w, key_v, key_outlier = jax.random.split(key, 3)
        F, G, H = (jnp.asarray(block) for block in dynamics(self.horizon / (self.num_steps - 1)))
        w = jax.random.normal(key_w, (self.num_steps, 2))
        v = jax.random.normal(key_v, (self.num_steps, 2))
        outlier = jax.random.bernoulli(key_outlier, self.outliers, (self.num_steps, 1))

        def simulate(x, noise):
            w_t, v_t = noise
            return F @ x + G @ w_t, H @ x + v_t

        _, y = jax.lax.scan(simulate, jnp.zeros(4), (w, jnp.where(outlier, 20 * v, v)))
        return {"y": y.T}
