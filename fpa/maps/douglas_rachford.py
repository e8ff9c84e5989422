"""Douglas-Rachford splitting of a quadratic cone program, in a diagonal metric."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fpa.maps.base import AbstractSplitting, AbstractUnscaledMap
from fpa.maps.linear_system import inverse_spd
from fpa.maps.metric import AbstractMetric, ConstantMetric
from fpa.programs import ConeProgram, Point, norm


class DouglasRachford(AbstractSplitting[ConeProgram]):
    """g1 = objective and all rows, g2 = cones of the slacks, in the metric D = diag(D_x, D_s).

    Rows of zero cones, which have to be linearly independent, are kept exactly; the others have slacks s. With
    v = (x, s), one application is

        s+ = Pi_K(s),  (x', s') = prox_{g1}(x, 2 s+ - s),  v+ = v + relaxation ((x', s') - (x, s+)),

    where the proximal step is in the norm of D. y = D_s (s+ - s) is the dual of the rows. With D_x = 0 this is the
    splitting without slacks, on bounds, and ADMM in general; D = rho I is what King et al. call identity for rho = 1.
    """

    metric: AbstractMetric = ConstantMetric()
    relaxation: float | Float[Array, ""] = 1.0

    def __check_init__(self):
        if isinstance(self.relaxation, int | float) and not 0 < self.relaxation < 2:
            raise ValueError(f"DouglasRachford: relaxation must lie strictly between 0 and 2, got {self.relaxation}.")

    def bind(self, program: ConeProgram) -> "DouglasRachfordMap":
        free = np.flatnonzero(~program.cone.equalities)
        tied = np.flatnonzero(program.cone.equalities)
        Dx, Ds = self.metric(program)
        A, E = program.A[free], program.A[tied]
        ties = _pseudoinverse(E) if len(tied) else E
        N = _null_space(E, ties)
        HN = Dx[:, None] * N + A.T @ (Ds[free, None] * (A @ N))
        HN = HN if program.P is None else HN + program.P @ N
        K = inverse_spd(N.T @ HN)
        x0 = ties.T @ program.b[tied]
        return DouglasRachfordMap(
            program=program,
            A=A,
            Dx=Dx,
            Ds=Ds[free],
            N=N,
            K=K,
            shift=x0 - N @ (K @ (HN.T @ x0)),
            ties=ties,
            relaxation=jnp.asarray(self.relaxation, program.b.dtype),
            free=tuple(free.tolist()),
            tied=tuple(tied.tolist()),
        )


def _pseudoinverse(E: Float[Array, "e n"]) -> Float[Array, "e n"]:
    """Transposed; NaN where rows of E are linearly dependent, so that no solve ends as solved."""
    ties = inverse_spd(E @ E.T) @ E
    error = norm((ties @ E.T - jnp.eye(len(E), dtype=E.dtype)).ravel())
    return jnp.where(error < 1e-3, ties, jnp.nan)


def _null_space(E: Float[Array, "e n"], ties: Float[Array, "e n"]) -> Float[Array, "n d"]:
    """A basis of the vectors with Ex = 0; `ties` is the transposed pseudoinverse of E.

    Any fixed vectors, projected on the null space, span it nearby, so that they need no derivative of their own.
    """
    if not len(E):
        return jnp.eye(E.shape[1], dtype=E.dtype)
    fixed = jnp.linalg.qr(jax.lax.stop_gradient(E).T, mode="complete")[0][:, len(E) :]
    return fixed - ties.T @ (E @ fixed)


class DouglasRachfordMap(AbstractUnscaledMap[ConeProgram]):
    """Douglas-Rachford splitting bound to one program. Iterates are z = (x, s), s of the rows that have slacks.

    The proximal step is x' = N K N' w + shift with w = D_x x + A' D_s (b - 2 s+ + s) - c. The columns of N span the x
    that the rows without slacks leave, and K is the inverse of the objective's and the metric's Hessian among them, so
    that what is factorised per program is no larger than that. `ties` gives the duals of the rows without slacks, those
    that leave the smallest dual residual.
    """

    program: ConeProgram
    A: Float[Array, "k n"]
    Dx: Float[Array, " n"]
    Ds: Float[Array, " k"]
    N: Float[Array, "n d"]
    K: Float[Array, "d d"]
    shift: Float[Array, " n"]
    ties: Float[Array, "e n"]
    relaxation: Float[Array, ""]
    free: tuple[int, ...] = eqx.field(static=True)
    tied: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, z):
        x, s = self.split(z)
        positive = self._project(s)
        w = self.Dx * x + self.A.T @ (self.Ds * (self._b - 2 * positive + s)) - self.program.c
        new_x = self.N @ (self.K @ (self.N.T @ w)) + self.shift
        new_s = self._b - self.A @ new_x
        step = jnp.concatenate([new_x - x, new_s - positive])
        fz = z + self.relaxation * step
        return fz, self._point(fz)

    def initial(self):
        return jnp.zeros((self.A.shape[1] + self.A.shape[0],), self.program.b.dtype)

    def lift(self, point, tau=1.0):
        free = np.asarray(self.free, int)
        return jnp.concatenate([point.x, point.s[free] - point.y[free] / self.Ds])

    def split(self, z: Float[Array, " z"]) -> tuple[Array, Array]:
        """x and s."""
        n = self.A.shape[1]
        return z[:n], z[n:]

    @property
    def _b(self):
        return self.program.b[np.asarray(self.free, int)]

    def _project(self, s):
        return self.program.cone.project(self._in_rows(s))[np.asarray(self.free, int)]

    def _point(self, z):
        """x of the iterate, the projected slacks and the duals that belong to both."""
        x, s = self.split(z)
        positive = self._project(s)
        y = self.Ds * (positive - s)
        gradient = self.program.c + self.A.T @ y
        if self.program.P is not None:
            gradient = gradient + self.program.P @ x
        return Point(x, self._in_rows(y, -self.ties @ gradient), self._in_rows(positive))

    def _in_rows(self, free: Array, tied: Array | float = 0.0) -> Array:
        """A vector over all rows from its values on those with slacks and those without."""
        rows = jnp.zeros_like(self.program.b).at[np.asarray(self.free, int)].set(free)
        return rows.at[np.asarray(self.tied, int)].set(tied)
