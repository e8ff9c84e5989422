"""The best static scalars of the SCS map for a family: the honest baseline for everything learned."""

from collections.abc import Sequence
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fpa._progress import progress
from fpa.distributions import AbstractDistribution, sample_batch
from fpa.maps import SCS
from fpa.solver import Solver

SCALES = tuple(float(s) for s in np.logspace(-2, 2, 9))
RHOS = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
RELAXATIONS = (1.0, 1.5, 1.8)


def tune(
    splitting: SCS,
    distribution: AbstractDistribution,
    key: PRNGKeyArray,
    num_instances: int = 16,
    num_steps: int = 100,
    scales: Sequence[float] = SCALES,
    rhos: Sequence[float] = RHOS,
    relaxations: Sequence[float] = RELAXATIONS,
) -> SCS:
    """`splitting` with the scale, rho_x and relaxation that serve the family best, by exhaustive search.

    The score of a setting is the worst of the primal and dual residuals and the gap, as a geometric mean over the
    sampled instances and iterations 1 to `num_steps`: the area under the convergence curve on a logarithmic axis.
    Draw `key` from the role "tune"; test instances must not decide.
    """
    batch = sample_batch(distribution, key, num_instances)
    settings = list(product(scales, rhos, relaxations))
    groups = [settings[i : i + len(relaxations)] for i in range(0, len(settings), len(relaxations))]
    scores = []
    for group in progress(groups, total=len(groups), desc="tune"):
        scores.append(np.asarray(_scores(splitting, distribution, batch, jnp.asarray(group), num_steps)))
    scale, rho_x, relaxation = settings[int(np.argmin(np.concatenate(scores)))]
    return with_scalars(splitting, (scale, rho_x, relaxation))


def with_scalars(splitting: SCS, scalars) -> SCS:
    """`splitting` with other values of (scale, rho_x, relaxation)."""
    return eqx.tree_at(lambda s: (s.scale, s.rho_x, s.relaxation), splitting, tuple(scalars))


@eqx.filter_jit
def _scores(splitting, distribution, batch, settings: Float[Array, "k 3"], num_steps: int) -> Float[Array, " k"]:
    """The mean logarithm of the worst residual, for each setting; infinite where anything is not finite."""

    def score(setting):
        solver = Solver(with_scalars(splitting, setting))
        trace = jax.vmap(lambda parameters: solver.trace(distribution.program(parameters), num_steps))(batch)
        worst = jnp.maximum(jnp.maximum(trace.primal, trace.dual), trace.gap)
        mean = jnp.mean(jnp.log(jnp.maximum(worst, jnp.finfo(worst.dtype).tiny)))
        return jnp.where(jnp.isfinite(mean), mean, jnp.inf)

    return jax.lax.map(score, settings)
