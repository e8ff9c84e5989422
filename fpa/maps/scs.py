"""The map of SCS on the homogeneous self-dual embedding."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.equilibration import Equilibration, equilibrate
from fpa.maps.base import AbstractFixedPointMap, AbstractSplitting
from fpa.maps.linear_system import LinearSystem
from fpa.maps.metric import AbstractMetric, ConstantMetric
from fpa.programs import ConeProgram, Point, norm

_EQUILIBRATION_PASSES = 10


class SCS(AbstractSplitting[ConeProgram]):
    """The splitting of O'Donoghue et al. (2016), equations (4)-(6) of the main paper, in the metric R.

    With R = diag(R_x, R_y, 1) and relaxation a, one application to z = (u; v) is

        u~ = (R + Q)^-1 (R u + v),      u_a = a u~ + (1 - a) u,
        u+ = Pi_C(u_a - R^-1 v),        v+ = v + R (u+ - u_a).

    R_x is rho_x and R_y is 1 / scale, 1 / (scale zero_scale) on the rows of zero cones (SCS 3 has zero_scale = 1000);
    a `metric` with weights (w_x, w_s) makes that rho_x w_x and 1 / (scale zero_scale w_s). R = I and a = 1 give
    (4)-(6) to the letter; the defaults are those of SCS 2, which reproduce the paper's curves. R is constant within
    every cone, so Pi_C is the Euclidean projection. Data are equilibrated first; without equilibration tau can stay 0
    for many iterations.
    """

    relaxation: float | Float[Array, ""] = 1.5
    rho_x: float | Float[Array, ""] = 1e-3
    scale: float | Float[Array, ""] = 1.0
    zero_scale: float | Float[Array, ""] = 1.0
    equilibrate: bool = eqx.field(static=True, default=True)
    metric: AbstractMetric = ConstantMetric()

    def __check_init__(self):
        for name in ("rho_x", "scale", "zero_scale"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 < value < float("inf"):
                raise ValueError(f"SCS: {name} must be positive and finite, got {value}.")
        if isinstance(self.relaxation, int | float) and not 0 < self.relaxation < 2:
            raise ValueError(f"SCS: relaxation must lie strictly between 0 and 2, got {self.relaxation}.")

    def bind(self, program: ConeProgram) -> "SCSMap":
        if program.P is not None:
            raise ValueError("SCS: the embedding takes linear objectives only; canonicalize with quadratic=False.")
        scaled = equilibrate(program, _EQUILIBRATION_PASSES if self.equilibrate else 0)
        dtype = program.b.dtype
        x_weights, s_weights = self.metric(program)
        Rx = jnp.asarray(self.rho_x, dtype) * x_weights
        zero_scale = jnp.where(program.cone.equalities, jnp.asarray(self.zero_scale, dtype), 1)
        system = LinearSystem(scaled.A, Rx, 1 / (jnp.asarray(self.scale, dtype) * zero_scale * s_weights))
        px, py = system.solve(scaled.c, scaled.b)
        return SCSMap(
            program=program,
            equilibration=scaled.equilibration,
            system=system,
            b=scaled.b,
            c=scaled.c,
            px=px,
            py=py,
            pivot=1 + jnp.vdot(scaled.c, px) + jnp.vdot(scaled.b, py),
            relaxation=jnp.asarray(self.relaxation, dtype),
        )


class SCSMap(AbstractFixedPointMap[ConeProgram]):
    """SCS bound to one program. Iterates z = (u; v), u = (x, y, tau), v = (r, s, kappa), are equilibrated ones.

    `(px, py)` solves the system for the right-hand side (c, b), and `pivot` is the Schur complement of tau.
    """

    program: ConeProgram
    equilibration: Equilibration
    system: LinearSystem
    b: Float[Array, " m"]
    c: Float[Array, " n"]
    px: Float[Array, " n"]
    py: Float[Array, " m"]
    pivot: Float[Array, ""]
    relaxation: Float[Array, ""]

    def __call__(self, z):
        x, y, tau, r, s, kappa = self.split(z)
        Rx, Ry = self.system.Rx, self.system.Ry
        tx, ty, ttau = self._project_affine(Rx * x + r, Ry * y + s, tau + kappa)
        a = self.relaxation
        ax, ay, atau = a * tx + (1 - a) * x, a * ty + (1 - a) * y, a * ttau + (1 - a) * tau
        new_x = ax - r / Rx
        new_y = self.program.cone.project_dual(ay - s / Ry)
        new_tau = jnp.maximum(atau - kappa, 0)
        new_r = r + Rx * (new_x - ax)
        new_s = s + Ry * (new_y - ay)
        fz = self.join(new_x, new_y, new_tau, new_r, new_s, kappa + new_tau - atau)
        return fz, self._point(fz)

    def initial(self):
        n, m = self._shape
        start = jnp.zeros((2 * (n + m + 1),), self.b.dtype)
        return start.at[jnp.array([n + m, -1])].set(jnp.sqrt(n + m + 1.0).astype(start.dtype))

    def lift(self, point, tau=1.0):
        scaled = self.equilibration.apply(point)
        return self.enter(jnp.concatenate([scaled.x, scaled.y, scaled.s]), tau)

    def coordinates(self, z):
        """(x, y, s) / tau, of length n + 2m: after an application of the map r = 0, and kappa = 0 where tau > 0."""
        x, y, _, _, s, _ = self.split(z)
        return self._inverse_tau(z) * jnp.concatenate([x, y, s])

    def defect(self, w):
        """(A'y + c, Ax + s - b, 0) of the equilibrated program, and the solution of (4)'s system for it."""
        n, m = self._shape
        x, y, s = w[:n], w[n : n + m], w[n + m :]
        dual, primal = self.system.A.rmv(y) + self.c, self.system.A.mv(x) + s - self.b
        return self._in_place((dual, primal), self.system.solve(-dual, primal))

    @property
    def data(self):
        """(c, b, 0) of the equilibrated program, and the solution of (4)'s system for it."""
        return self._in_place((self.c, self.b), (self.px, self.py))

    def _in_place(self, *pairs):
        return jnp.stack([jnp.concatenate([x, y, jnp.zeros_like(y)]) for x, y in pairs])

    @property
    def scales(self):
        return jnp.log(jnp.stack([self.equilibration.sigma, self.equilibration.rho]))

    def enter(self, w, tau):
        n, m = self._shape
        tau = jnp.asarray(tau, w.dtype)
        x, y, s = tau * w[:n], tau * w[n : n + m], tau * w[n + m :]
        return self.join(x, y, tau, jnp.zeros_like(x), s, jnp.zeros_like(tau))

    def scale(self, z):
        n, m = self._shape
        tau = z[n + m]
        return tau, tau > 10 * jnp.finfo(z.dtype).eps * norm(z[: n + m + 1])

    def size(self, z):
        largest = jnp.max(jnp.abs(z))
        return largest * norm(z / jnp.where(largest > 0, largest, 1))

    def residual(self, z, fz):
        n, m = self._shape
        return norm((fz - z)[: n + m + 1])

    def residual_normalized(self, z, fz):
        n, m = self._shape
        return norm(self._inverse_tau(fz) * fz[: n + m] - self._inverse_tau(z) * z[: n + m])

    def certificate(self, z):
        x, y, _, _, s, _ = self.split(z)
        return self.equilibration.invert(Point(x, y, s))

    def split(self, z: Float[Array, " z"]) -> tuple[Array, ...]:
        """The six blocks x, y, tau, r, s, kappa of z."""
        n, m = self._shape
        u, v = z[: n + m + 1], z[n + m + 1 :]
        return u[:n], u[n : n + m], u[n + m], v[:n], v[n : n + m], v[n + m]

    def join(self, x, y, tau, r, s, kappa) -> Float[Array, " z"]:
        """The inverse of `split`."""
        return jnp.concatenate([x, y, tau[None], r, s, kappa[None]])

    @property
    def _shape(self) -> tuple[int, int]:
        return self.c.shape[0], self.b.shape[0]

    def _project_affine(self, wx, wy, wtau):
        """(R + Q)^-1 w, by eliminating tau: Q = [[M, h], [-h', 0]] with h = (c, b)."""
        x, y = self.system.solve(wx, wy)
        tau = (wtau + jnp.vdot(self.c, x) + jnp.vdot(self.b, y)) / self.pivot
        return x - tau * self.px, y - tau * self.py, tau

    def _inverse_tau(self, z):
        """1 / tau, and 0 where z stands for no point: the zero point then takes its place."""
        tau, valid = self.scale(z)
        return jnp.where(valid, 1 / jnp.where(valid, tau, 1), 0)

    def _point(self, z):
        inverse = self._inverse_tau(z)
        x, y, _, _, s, _ = self.split(z)
        return self.equilibration.invert(Point(inverse * x, inverse * y, inverse * s))
