"""The best static scalars of a splitting for a family: the honest baseline for everything learned."""

from operator import attrgetter
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fpa._progress import progress
from fpa.distributions import AbstractDistribution, sample_batch
from fpa.maps import AbstractSplitting
from fpa.solver import Solver

Splitting = TypeVar("Splitting", bound=AbstractSplitting)

CANDIDATES: dict[str, tuple[float, ...]] = {
    "zero_scale": (1.0, 10.0, 100.0, 1000.0),
    "scale": tuple(float(scale) for scale in np.logspace(-2, 2, 13)),
    "relaxation": (1.0, 1.25, 1.5, 1.7, 1.8, 1.9),
    "rho_x": (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
}


def tune(
    splitting: Splitting,
    distribution: AbstractDistribution,
    key: PRNGKeyArray,
    num_instances: int = 16,
    num_steps: int = 100,
    candidates: dict[str, tuple[float, ...]] = CANDIDATES,
    sweeps: int = 3,
) -> Splitting:
    """`splitting` with the scalars that serve the family best, found by coordinate search over `candidates`.

    The score of a setting is the worst of the primal and dual residuals and the gap, as a geometric mean over the
    sampled instances and iterations 1 to `num_steps`: the area under the convergence curve on a logarithmic axis.
    The result never scores worse than `splitting`. `candidates` has values by the scalars' names, of the SCS map unless
    told; the name `metric.s` means the scalar `s` of the splitting's `metric`. Draw `key` from the role "tune"; test
    instances must not decide.

    Raises ValueError for a candidate name that is not a scalar of the splitting.
    """
    names = tuple(candidates)
    for name in names:
        try:
            float(attrgetter(name)(splitting))
        except (AttributeError, TypeError):
            raise ValueError(f"tune: the splitting has no scalar {name!r}.") from None
    batch = sample_batch(distribution, key, num_instances)
    scores: dict[tuple[float, ...], float] = {}

    def score(setting: tuple[float, ...]) -> float:
        if setting not in scores:
            scores[setting] = float(_score(splitting, names, jnp.asarray(setting), distribution, batch, num_steps))
        return scores[setting]

    best = tuple(float(attrgetter(name)(splitting)) for name in names)
    rounds = [(i, value) for _ in range(sweeps) for i, name in enumerate(names) for value in candidates[name]]
    for i, value in progress(rounds, total=len(rounds), desc="tune"):
        best = min(best, (*best[:i], value, *best[i + 1 :]), key=score)
    return _with_scalars(splitting, names, best)


def _with_scalars(splitting: Splitting, names: tuple[str, ...], values) -> Splitting:
    return eqx.tree_at(lambda s: [attrgetter(name)(s) for name in names], splitting, list(values))


@eqx.filter_jit
def _score(splitting, names, setting: Float[Array, " k"], distribution, batch, num_steps: int) -> Float[Array, ""]:
    """The mean logarithm of the worst residual; infinite where anything is not finite."""
    solver = Solver(_with_scalars(splitting, names, setting))
    trace = jax.vmap(lambda parameters: solver.trace(distribution.program(parameters), num_steps))(batch)
    mean = jnp.mean(jnp.log(jnp.maximum(trace.worst, jnp.finfo(trace.worst.dtype).tiny)))
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)
