"""The linear system of the splitting, solved many times with one factorisation.

With R_x, R_y the diagonal metric, (R + M) [x; y] = [w_x; w_y] for M = [[0, A'], [-A, 0]] reduces to

    (R_x + A' R_y^-1 A) x = w_x - A' R_y^-1 w_y,        y = R_y^-1 (w_y + A x).

The inverse G of the n x n matrix on the left is formed once. Its derivative is dG = -G (dH) G, by implicit
differentiation: nothing is differentiated through the factorisation, and where only right-hand sides vary the
derivative is one more product with G.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.matrices import AbstractMatrix


@jax.custom_jvp
def inverse_spd(H: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Inverse of a symmetric positive definite matrix, by Cholesky factorisation."""
    identity = jnp.eye(H.shape[0], dtype=H.dtype)
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(H), True), identity)


@inverse_spd.defjvp
def _inverse_spd_jvp(primals, tangents):
    G = inverse_spd(primals[0])
    return G, -G @ tangents[0] @ G


class LinearSystem(eqx.Module):
    """R + M, factorised. `Rx` and `Ry` hold the blocks of the metric."""

    A: AbstractMatrix
    Rx: Float[Array, " n"]
    Ry: Float[Array, " m"]
    G: Float[Array, "n n"]

    def __init__(self, A: AbstractMatrix, Rx: Float[Array, " n"], Ry: Float[Array, " m"]):
        self.A, self.Rx, self.Ry = A, Rx, Ry
        self.G = inverse_spd(jnp.diag(Rx) + A.gram(Ry))

    def solve(self, wx: Float[Array, " n"], wy: Float[Array, " m"]) -> tuple[Float[Array, " n"], Float[Array, " m"]]:
        """Solve (R + M) [x; y] = [wx; wy]."""
        x = self.G @ (wx - self.A.rmv(wy / self.Ry))
        return x, (wy + self.A.mv(x)) / self.Ry
