"""Lasso families in which less is random: source matrix, solution or noise is the same for all instances."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.canonicalize import Canonical, canonicalize
from fpa.distributions.base import AbstractConeDistribution
from fpa.distributions.lasso import Lasso, lasso_problem, parts_of_lasso


class FixedLasso(AbstractConeDistribution):
    """The Lasso of Section 6.2 and Appendix C.2: `F`, the truth `z` or the noise `w` is fixed where it is given.

    F is q x p, z has length p and w length q; w is standard normal before it is multiplied by `noise`. Everything
    else is drawn as in `Lasso`, with which the family agrees bit for bit where nothing is fixed. With F given the
    matrix A of the cone program does not vary. `FixedLasso.draw` draws what is to be fixed. The paper has p = 10 and
    q = 20, 40 or 60.
    """

    canonical: Canonical
    F: Float[Array, "q p"] | None
    z: Float[Array, " p"] | None
    w: Float[Array, " q"] | None
    p: int = eqx.field(static=True)
    q: int = eqx.field(static=True)
    density: Float[Array, ""]
    noise: Float[Array, ""]

    def __init__(
        self,
        p: int = 10,
        q: int = 20,
        density: float | Float[Array, ""] = 0.1,
        noise: float | Float[Array, ""] = 0.1,
        F: Array | None = None,
        z: Array | None = None,
        w: Array | None = None,
    ):
        free = Lasso(p, q, density, noise)
        self.p, self.q, self.density, self.noise = p, q, free.density, free.noise
        self.F, self.z, self.w = _checked("F", F, (q, p)), _checked("z", z, (p,)), _checked("w", w, (q,))
        self.canonical = free.canonical if F is None else _with_source(np.asarray(F))

    @classmethod
    def draw(cls, lasso: Lasso, key: PRNGKeyArray, *fixed: str) -> "FixedLasso":
        """The family `lasso` with the parts named in `fixed` ("F", "z", "w") drawn once, from `key`."""
        if unknown := set(fixed) - set("Fzw"):
            raise ValueError(f"FixedLasso.draw: the parts are F, z and w, got {sorted(unknown)}.")
        parts = dict(zip("Fzw", parts_of_lasso(key, lasso.p, lasso.q, lasso.density), strict=True))
        return cls(lasso.p, lasso.q, lasso.density, lasso.noise, **{name: parts[name] for name in fixed})

    def sample(self, key):
        drawn = parts_of_lasso(key, self.p, self.q, self.density)
        F, z, w = (new if fixed is None else fixed for fixed, new in zip((self.F, self.z, self.w), drawn, strict=True))
        g = F @ z + self.noise * w
        varying = {"g": g, "mu": 0.1 * jnp.max(jnp.abs(F.T @ g))}
        return varying if self.F is not None else {"F": F} | varying


def _with_source(F: np.ndarray) -> Canonical:
    q, p = F.shape
    problem = lasso_problem(p, q)
    problem.param_dict["F"].value = F
    return canonicalize(problem, varying=("g", "mu"))


def _checked(name: str, value: Array | None, shape: tuple[int, ...]) -> Array | None:
    if value is None:
        return None
    if np.shape(value) != shape:
        raise ValueError(f"FixedLasso: {name} must have shape {shape}, got {np.shape(value)}.")
    if not np.isfinite(np.asarray(value)).all():
        raise ValueError(f"FixedLasso: {name} is not finite.")
    return jnp.asarray(value)
