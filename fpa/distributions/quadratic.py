"""Parametric quadratic programs with a fixed quadratic part and fixed constraint matrices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions.base import AbstractConeDistribution

# The discretised dynamics: x+ = _A x + _B u, steps of 0.1 seconds.
_A = np.eye(12)
_A[[0, 1, 2], [6, 7, 8]] = 0.1
_A[[3, 4, 9, 10], [0, 1, 0, 1]] = 0.0488, -0.0488, 0.9734, -0.9734
_A[[3, 4, 9, 10], [6, 7, 6, 7]] = 0.0016, -0.0016, 0.0488, -0.0488
_A[[3, 4, 5], [9, 10, 11]] = 0.0992
_A[[9, 10, 11], [9, 10, 11]] = 0.9846
_B = np.zeros((12, 4))
_B[[0, 1, 6, 7]] = np.repeat([0.0726, 1.4512], 2)[:, None] * np.tile([[0, -1, 0, 1], [-1, 0, 1, 0]], (2, 1))
_B[[2, 8]] = np.outer([0.0152, 0.3049], [-1, 1, -1, 1])
_B[[3, 9]] = np.outer([0.0006, 0.0236], [0, -1, 0, 1])
_B[[4, 10]] = np.outer([0.0006, 0.0236], [1, 0, -1, 0])
_B[[5, 11]] = np.outer([0.0106, 0.2107], [1, 1, 1, 1])


class BoxQP(AbstractConeDistribution):
    """Two variables, four constraints, two parameters, uniform on [-2, 2]^2: the toy of King et al.

    minimise ||x||^2 subject to p1 <= x1 + x2 <= p1 + 1 and -p2 <= x1 - x2 <= 1 - p2.
    """

    canonical: Canonical

    def __init__(self):
        import cvxpy as cp

        x, p = cp.Variable(2, name="x"), cp.Parameter(2, name="p")
        rows: list[Any] = [-x[0] - x[1] + p[0] <= 0, x[0] + x[1] - p[0] - 1 <= 0]
        rows += [x[0] - x[1] + p[1] - 1 <= 0, -x[0] + x[1] - p[1] <= 0]
        self.canonical = canonicalize(cp.Problem(cp.Minimize(cp.sum_squares(x)), rows), quadratic=True)

    def sample(self, key):
        return {"p": jax.random.uniform(key, (2,), minval=-2.0, maxval=2.0)}


class Portfolio(AbstractConeDistribution):
    """minimise (-p'x + x'Qx)/2 subject to 1'x = budget, x >= 0; the expected returns p vary.

    Q = 2 I + V V', where the squared singular values of V are `spectrum`, one for each of its columns: synthetic, but
    with the spectrum of the covariance that King et al. used. p is normal with standard deviation 0.28.
    """

    canonical: Canonical
    deviation: float

    def __init__(self, n: int = 20, budget: float = 1.0, spectrum=(8.95, 1.6), deviation: float = 0.28, seed: int = 0):
        import cvxpy as cp

        rng = np.random.default_rng(seed)
        loadings = np.concatenate(
            [np.abs(rng.standard_normal((n, 1))) ** 2, rng.standard_normal((n, len(spectrum) - 1))], 1
        )
        directions = np.linalg.qr(loadings)[0]
        Q = 2 * np.eye(n) + (directions * np.asarray(spectrum)) @ directions.T
        x, p = cp.Variable(n, name="x"), cp.Parameter(n, name="p")
        objective = cp.Minimize((-p @ x + cp.quad_form(x, cp.psd_wrap(Q))) / 2)
        rows: list[Any] = [cp.sum(x) == budget, x >= 0]
        self.canonical = canonicalize(cp.Problem(objective, rows), quadratic=True)
        self.deviation = deviation

    def sample(self, key):
        n = self.canonical.shapes["p"][0]
        return {"p": self.deviation * jax.random.normal(key, (n,))}


class RandomQP(AbstractConeDistribution):
    """minimise x'Qx/2 + p'x subject to Gx <= h; p and h vary.

    n variables and `ratio` n inequalities. Q = M M'/n + 0.1 I and G/sqrt(n) are fixed, with normal entries of M and
    G; p is normal, h uniform on [0, 1], so that x = 0 is feasible.
    """

    canonical: Canonical

    def __init__(self, n: int = 10, ratio: float = 1.0, seed: int = 0):
        import cvxpy as cp

        rng = np.random.default_rng(seed)
        rows = max(round(ratio * n), 1)
        M, G = rng.standard_normal((n, n)), rng.standard_normal((rows, n)) / np.sqrt(n)
        Q = M @ M.T / n + 0.1 * np.eye(n)
        x, p, h = cp.Variable(n, name="x"), cp.Parameter(n, name="p"), cp.Parameter(rows, name="h")
        objective = cp.Minimize(cp.quad_form(x, cp.psd_wrap(Q)) / 2 + p @ x)
        self.canonical = canonicalize(cp.Problem(objective, [G @ x <= h]), quadratic=True)

    def sample(self, key):
        one, two = jax.random.split(key)
        return {
            "p": jax.random.normal(one, self.canonical.shapes["p"]),
            "h": jax.random.uniform(two, self.canonical.shapes["h"]),
        }


class QuadcopterMPC(AbstractConeDistribution):
    """Linear model predictive control of a quadcopter to its set point; the present state varies.

    The system of the OSQP documentation: 12 states, 4 inputs, horizon `steps` = 10; bounds on two angles and four
    inputs: 172 variables, 132 equalities and 124 inequalities. Angles (the first two states) start uniform in +-pi/6,
    the other states in +-0.8.
    """

    canonical: Canonical

    def __init__(self, steps: int = 10):
        import cvxpy as cp

        hover = 10.5916
        low, high = (np.full((steps, 4), thrust - hover) for thrust in (9.6, 13.0))
        weights = np.array([0, 0, 10, 10, 10, 10, 0, 0, 0, 5, 5, 5.0])
        states = cp.Variable(12 * (steps + 1), name="x")  # a vector, as the weighted squares of a part become variables
        x = cp.reshape(states, (steps + 1, 12), order="C")
        u = cp.Variable((steps, 4), name="u")
        start = cp.Parameter(12, name="start")
        cost = cp.quad_form(states, np.diag(np.tile(weights, steps + 1))) + 0.1 * cp.sum_squares(u)
        rows: list[Any] = [x[0] == start]
        rows += [x[k + 1] == _A @ x[k] + _B @ u[k] for k in range(steps)]
        rows += [u >= low, u <= high, x[:, :2] <= np.pi / 6, x[:, :2] >= -np.pi / 6]
        self.canonical = canonicalize(cp.Problem(cp.Minimize(cost / 2), rows), quadratic=True)

    def sample(self, key):
        reach = jnp.full((12,), 0.8).at[:2].set(jnp.pi / 6)
        return {"start": reach * jax.random.uniform(key, (12,), minval=-1.0, maxval=1.0)}
