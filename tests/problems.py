"""CVXPY problems with parameters, for the laws of canonicalisation; each call makes a problem of its own."""

import cvxpy as cp
import jax
import numpy as np

from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions import AbstractConeDistribution


def _constants(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


def least_squares_in_A():
    x, F = cp.Variable(3, name="x"), cp.Parameter((4, 3), name="F")
    return cp.Problem(cp.Minimize(cp.norm2(F @ x - 1) + cp.norm1(x)))


def bounds_in_b():
    x, lower, width = cp.Variable(3, name="x"), cp.Parameter(3, name="lower"), cp.Parameter(nonneg=True, name="width")
    return cp.Problem(cp.Minimize(cp.sum(x)), [x >= lower, x <= lower + width])


def prices_in_c():
    x, price = cp.Variable(4, name="x"), cp.Parameter(4, name="price")
    return cp.Problem(cp.Minimize(price @ x), [cp.norm2(x) <= 1, cp.sum(x) == 0.5])


def everything_at_once():
    x, t = cp.Variable(3, name="x"), cp.Variable(name="t")
    F, g = cp.Parameter((2, 3), name="F"), cp.Parameter(2, name="g")
    weight, ball = cp.Parameter(nonneg=True, name="weight"), cp.Parameter((1,), pos=True, name="ball")
    constraints = [cp.norm2(x) <= t, t <= 9 + ball[0], F @ x + g == 0]
    return cp.Problem(cp.Minimize(cp.sum_squares(x - 1) + weight * cp.norm1(x) + t + cp.sum(g) * x[0]), constraints)


def affine_expressions():
    """Parameters enter through sums, slices, products with constants and transposes."""
    x, P, q = cp.Variable(3, name="x"), cp.Parameter((3, 2), name="P"), cp.Parameter((2, 2), name="q")
    coefficients = 2 * P.T - _constants(2, 3) + cp.vstack([q[0, 0] * np.ones(3), q[1] @ _constants(2, 3)])
    constraints = [coefficients @ x <= 1 + cp.sum(q, axis=0), cp.norm(x, "inf") <= 2]
    return cp.Problem(cp.Maximize(cp.trace(q) - cp.norm1(x) + x[0]), constraints)


def maximise():
    x, r = cp.Variable(3, nonneg=True, name="x"), cp.Parameter(3, name="r")
    return cp.Problem(cp.Maximize(r @ x - cp.sum_squares(x)), [cp.sum(x) == 1])


def symmetric_variable():
    X, C = cp.Variable((3, 3), symmetric=True, name="X"), cp.Parameter((3, 3), name="C")
    return cp.Problem(cp.Minimize(cp.norm(X - C, "fro") + 0.3 * cp.trace(X)), [X[0, 1] >= 1])


def semidefinite_variable():
    X, C, diagonal = cp.Variable((3, 3), PSD=True, name="X"), cp.Parameter((3, 3), name="C"), cp.Parameter(3, name="d")
    return cp.Problem(cp.Minimize(cp.trace(C @ X) + cp.norm(cp.diag(X) - diagonal)), [cp.trace(X) <= 2])


def negative_semidefinite_and_diagonal_variables():
    N, D = cp.Variable((2, 2), NSD=True, name="N"), cp.Variable((3, 3), diag=True, name="D")
    C = cp.Parameter((2, 2), name="C")
    return cp.Problem(cp.Minimize(cp.sum_squares(N - C) + cp.sum_squares(D - np.ones((3, 3)))))


def bounded_variables():
    x, y = cp.Variable(3, bounds=[-1, 2], name="x"), cp.Variable((2, 2), nonpos=True, name="y")
    p = cp.Parameter(3, name="p")
    return cp.Problem(cp.Minimize(cp.sum_squares(x - p) + cp.norm(y + np.ones((2, 2)), "fro") - cp.sum(p)))


def linear_matrix_inequality():
    """Zero, nonnegative, second-order and semidefinite cones, all with parameters."""
    x, scale, shift = cp.Variable(2, name="x"), cp.Parameter(pos=True, name="scale"), cp.Parameter(2, name="shift")
    M = np.array([[1.0, 0.5], [0.5, 2.0]])
    constraints = [
        scale * np.eye(2) + x[0] * M >> x[1] * np.eye(2),
        cp.norm2(x - shift) <= 3 + scale,
        x[0] + scale * x[1] == 0.5,
        x >= -5 * scale,
    ]
    return cp.Problem(cp.Minimize(x[0] + 0.1 * cp.sum_squares(x)), constraints)


def sparse_data():
    """Wide enough to be kept sparse."""
    x, a = cp.Variable((2, 30), name="x"), cp.Parameter(30, name="a")
    steps = [x[:, t + 1] == 0.9 * x[:, t] + a[t] for t in range(29)]
    return cp.Problem(cp.Minimize(cp.sum_squares(x) + cp.norm1(x[:, 0] - a[0])), steps)


def quadratic_over_linear():
    x, s = cp.Variable(2, name="x"), cp.Parameter(2, pos=True, name="s")
    return cp.Problem(cp.Minimize(cp.quad_over_lin(cp.multiply(s, x) - 1, 2) + cp.huber(x[0], 0.5)), [x[1] >= s[0]])


def no_parameters():
    x = cp.Variable(3, name="x")
    return cp.Problem(cp.Minimize(cp.sum_squares(_constants(4, 3) @ x - 1) + cp.norm1(x)))


PROBLEMS = {
    make.__name__: make
    for make in (
        least_squares_in_A,
        bounds_in_b,
        prices_in_c,
        everything_at_once,
        affine_expressions,
        maximise,
        symmetric_variable,
        semidefinite_variable,
        negative_semidefinite_and_diagonal_variables,
        bounded_variables,
        linear_matrix_inequality,
        sparse_data,
        quadratic_over_linear,
        no_parameters,
    )
}


def dynamic_lasso(p: int, q: int, num_steps: int, delta: float = 0.1, beta: float = 0.005) -> cp.Problem:
    """norm2(H z - g)^2 + lam ||z||_1 + norm2(v), H = I (x) F, with z_{i+1} = z_i + delta + beta v_i."""
    F = _constants(q, p)
    z, v = cp.Variable((num_steps, p), name="z"), cp.Variable((num_steps - 1, p), name="v")
    g, lam = cp.Parameter(num_steps * q, name="g"), cp.Parameter(nonneg=True, name="lam")
    H = np.kron(np.eye(num_steps), F)
    objective = cp.norm2(H @ cp.vec(z, order="C") - g) ** 2 + lam * cp.norm1(cp.vec(z, order="C"))
    moves = [z[i + 1] == z[i] + delta + beta * v[i] for i in range(num_steps - 1)]
    return cp.Problem(cp.Minimize(objective + cp.norm2(cp.vec(v, order="C"))), moves)


class Portfolio(AbstractConeDistribution):
    """A family of one's own: a problem and a sampler."""

    canonical: Canonical

    def __init__(self):
        x, r = cp.Variable(4, name="x"), cp.Parameter(4, name="r")
        self.canonical = canonicalize(cp.Problem(cp.Maximize(r @ x - cp.sum_squares(x)), [cp.sum(x) == 1, x >= 0]))

    def sample(self, key):
        return {"r": jax.random.normal(key, (4,))}
