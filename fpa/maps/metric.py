"""Diagonal metrics in which a splitting is iterated: one weight for every primal variable and for every row."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fpa.cones import AbstractCone
from fpa.programs import ConeProgram, Point

Weights = tuple[Float[Array, " n"], Float[Array, " m"]]


class AbstractMetric(eqx.Module):
    """From a program to positive weights, constant within every cone that couples its entries.

    Any such metric, fixed over the iterations, keeps a splitting convergent, and changes how fast it is.
    """

    @abstractmethod
    def __call__(self, program: ConeProgram) -> Weights:
        """The weights of x, of length n, and of the rows, of length m."""


class ConstantMetric(AbstractMetric):
    """The same weights for every program: numbers, or one for each variable and row. Tuned scalars are of this kind.

    Weights of rows that a cone couples are averaged. `x` may be 0 for Douglas-Rachford splitting, where P and the rows
    alone make the proximal step unique: the splitting is then one on s alone.
    """

    x: float | Float[Array, "*n"] = 1.0
    s: float | Float[Array, "*m"] = 1.0

    def __check_init__(self):
        for name, least in (("x", "nonnegative"), ("s", "positive")):
            value = getattr(self, name)
            if isinstance(value, int | float) and not (value >= 0 if name == "x" else value > 0):
                raise ValueError(f"ConstantMetric: {name} must be {least}, got {value}.")

    def __call__(self, program):
        x, s = (jnp.asarray(value, program.b.dtype) for value in (self.x, self.s))
        rows = s if s.ndim == 0 else within_cones(program.cone, s)
        return jnp.broadcast_to(x, program.c.shape), jnp.broadcast_to(rows, program.b.shape)


class TunedMetric(AbstractMetric):
    """One metric for a whole family, to be trained: the weights are the exponentials of `log_x` and `log_s`.

    Weights of rows that a cone couples are averaged. Where A does not vary, all instances share one factorisation.
    """

    log_x: Float[Array, " n"]
    log_s: Float[Array, " m"]

    def __call__(self, program):
        x, s = (jnp.exp(log.astype(program.b.dtype)) for log in (self.log_x, self.log_s))
        return x, within_cones(program.cone, s)


class ActiveSetMetric(AbstractMetric):
    """The oracle: rows that are active at the solution weigh much, the others little. Not a method, a reference.

    It needs the solution that it is to help find, from `reference`, a solver.
    """

    reference: Any
    x: float = 0.3
    active: float = 10.0
    inactive: float = 0.1
    tol: float = eqx.field(static=True, default=1e-9)

    def __call__(self, program):
        point: Point = jax.lax.stop_gradient(self.reference.solve(program, tol=self.tol).point)
        binding = program.cone.equalities | (jnp.abs(point.y) > jnp.abs(point.s))
        rows = jnp.where(binding, self.active, self.inactive).astype(program.b.dtype)
        return jnp.full_like(program.c, self.x), within_cones(program.cone, rows)


def within_cones(cone: AbstractCone, weights: Float[Array, " m"]) -> Float[Array, " m"]:
    """The nearest weights that leave projections onto the cone what they are."""
    return cone.average(weights)


def giselsson_boyd(program: ConeProgram) -> ConstantMetric:
    """The row weights W for which W^1/2 K W^1/2, K = A H^-1 A' the dual Hessian, is best conditioned.

    Giselsson and Boyd (2017) minimise the ratio of the largest to the smallest eigenvalue that is not 0, over the
    inequality rows, as a semidefinite program; here a smooth bound of it is minimised by descent over log W. P and A
    have to be those of all programs that the metric is for. x has weight 0: the splitting is one on s. Rows that no
    feasible direction changes keep the weight 1. Raises ValueError where H, which is P on the feasible directions, is
    singular.
    """
    from scipy.optimize import minimize

    K = _dual_hessian(program)
    moved = np.diag(K) > 1e-9 * np.diag(K).max()
    unit = 1 / np.sqrt(np.diag(K)[moved])
    scaled = unit[:, None] * K[np.ix_(moved, moved)] * unit
    rank = int(np.linalg.matrix_rank(scaled, tol=1e-9 * len(unit), hermitian=True))
    objective = jax.jit(jax.value_and_grad(lambda d: _condition(jnp.asarray(scaled), d, rank)))
    found = minimize(lambda d: tuple(map(np.asarray, objective(d))), np.zeros(len(unit)), jac=True, method="L-BFGS-B")
    root = np.exp(found.x)
    values = np.linalg.eigvalsh(root[:, None] * scaled * root)[-rank:]
    inequalities = np.ones(len(K))
    inequalities[moved] = (unit * root) ** 2 / np.sqrt(values[0] * values[-1])
    weights = np.ones(program.b.shape[0])
    weights[~program.cone.equalities] = inequalities
    return ConstantMetric(0.0, jnp.asarray(weights))


def _condition(K: Float[Array, "k k"], d: Float[Array, " k"], rank: int, power: float = 16.0) -> Float[Array, ""]:
    """Of diag(e^d) K diag(e^d): the logarithm of an upper bound on its condition number, tighter for larger `power`."""
    values = jnp.log(jnp.linalg.eigvalsh(jnp.exp(d)[:, None] * K * jnp.exp(d))[-rank:])
    return (jax.nn.logsumexp(power * values) + jax.nn.logsumexp(-power * values)) / power


def _dual_hessian(program: ConeProgram) -> np.ndarray:
    """A H^-1 A' over the inequality rows, on the null space of the equality rows."""
    A = np.asarray(program.A, float)
    H = np.zeros((A.shape[1],) * 2) if program.P is None else np.asarray(program.P, float)
    equalities = A[program.cone.equalities]
    basis = np.linalg.svd(equalities)[2][len(equalities) :].T if len(equalities) else np.eye(A.shape[1])
    rows, reduced = A[~program.cone.equalities] @ basis, basis.T @ H @ basis
    values = np.linalg.eigvalsh(reduced)
    if not (values > 1e-12 * values.max(initial=0)).all():
        raise ValueError("giselsson_boyd: P has to be positive definite along the equality rows.")
    return rows @ np.linalg.solve(reduced, rows.T)
