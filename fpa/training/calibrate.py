"""What a family's iterates and solutions look like, for the normalisers and units of networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from fpa._progress import progress
from fpa.accelerators import Picard
from fpa.accelerators.features import FeatureNormalizer, Normalizer, first_features, step_features
from fpa.distributions import AbstractDistribution, sample_batch
from fpa.maps import AbstractSplitting
from fpa.solver import Solver
from fpa.training.objectives import solved_point
from fpa.training.pools import Pool

_STEPS = (5, 10, 20)


class Calibration(eqx.Module):
    """The settled scale `tau` of plain iteration, and means and spreads over instances.

    `solutions` are solved points in the map's coordinates, of length w; `first` and `later` normalise what
    g_init and g_acc see; `unit`, of length w, is the usual size of what is left to the
    solution, in units of the step.
    """

    tau: Float[Array, ""]
    solutions: Normalizer
    first: FeatureNormalizer
    later: FeatureNormalizer
    unit: Float[Array, " w"]


def calibrate(
    splitting: AbstractSplitting,
    distribution: AbstractDistribution,
    key: PRNGKeyArray,
    reference: Solver,
    stages: int = 0,
    history: int = 2,
    num_instances: int = 500,
    tol: float | None = None,
) -> Calibration:
    """Measure a family on `num_instances` instances: plain iterations 5, 10 and 20, the scale after 50, solutions.

    `reference` solves the instances to `tol`; `history` is that of the accelerator to be built (1 for `Recurrent`), and
    `stages` the number of its accesses if one network serves several of them. Draw `key` from the role "train".
    Instances that are not solved are left out; raises ValueError where none is left.
    """
    if num_instances < 1:
        raise ValueError(f"calibrate: num_instances must be at least 1, got {num_instances}.")
    if not 1 <= history < min(_STEPS):
        raise ValueError(f"calibrate: history must lie between 1 and {min(_STEPS) - 1}, got {history}.")
    chunk = min(num_instances, 100)
    seen = []
    for index in progress(range(-(-num_instances // chunk)), desc="calibrate"):
        parameters = sample_batch(distribution, jax.random.fold_in(key, index), chunk)
        seen.append(jax.device_get(_observe(splitting, distribution, parameters, reference, history, stages, tol)))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts)[:num_instances], *seen)
    solved = np.isfinite(joined[1]).all(axis=1)
    if not solved.any():
        raise ValueError(f"calibrate: the reference solved none of {num_instances} instances.")
    tau, solution, first, later, left = jax.tree.map(lambda leaf: jnp.asarray(leaf[solved]), joined)
    together = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (later, left))
    return Calibration(
        tau=jnp.median(tau).astype(jnp.float32),
        solutions=_normalizer(solution),
        first=_feature_normalizer(first),
        later=_without_stage(_feature_normalizer(together[0]), stages),
        unit=jnp.sqrt((together[1] ** 2).mean(axis=0)).astype(jnp.float32),
    )


@eqx.filter_jit
def _observe(splitting, distribution, parameters, reference, history, stages, tol):
    plain = Solver(splitting, Picard())

    def one(parameters):
        program = distribution.program(parameters)
        op = splitting.bind(program)
        solution = op.coordinates(op.lift(solved_point(reference, program, tol, 20_000), 1.0))

        def look(end):
            z, _, _ = plain.run(op, op.initial(), None, 0, end - history, _nothing)
            past = [z]
            for _ in range(history):
                past.insert(0, op(past[0])[0])
            w = op.coordinates(past[0])
            coordinates = jnp.stack([op.coordinates(z) for z in past[1:]])
            features, step = step_features(op, w, coordinates, jnp.zeros(stages))
            return features, (solution - w) / step

        later, left = jax.tree.map(lambda *parts: jnp.stack(parts), *[look(end) for end in _STEPS])
        settled, _, _ = plain.run(op, op.initial(), None, 0, 50, _nothing)
        return op.scale(settled)[0], solution, first_features(op), later, left

    return jax.vmap(one)(parameters)


def calibrate_access(
    splitting: AbstractSplitting, distribution: AbstractDistribution, pool: Pool, num_instances: int
) -> tuple[FeatureNormalizer, Float[Array, "models w"]]:
    """What an access sees at the pool's `starts`: a `FeatureNormalizer` and a unit, of length w, per model.

    `pool` belongs to a `Regression`; its first `num_instances` are used, for the unit those that are solved.
    """
    parameters, targets = jax.tree.map(lambda leaf: leaf[:num_instances], (pool.parameters, pool.targets))
    starts = jax.tree.map(lambda leaf: leaf[:, :num_instances], pool.starts)
    return _observe_access(splitting, distribution, parameters, targets, starts)


@eqx.filter_jit
def _observe_access(splitting, distribution, parameters, targets, starts):
    def look(parameters, target, start):
        op = splitting.bind(distribution.program(parameters))
        z, past = start
        w = op.coordinates(z)
        features, step = step_features(op, w, jax.vmap(op.coordinates)(past), jnp.zeros(0))
        return features, (op.coordinates(op.lift(target, 1.0)) - w) / step

    def one(starts):
        features, left = jax.vmap(look)(parameters, targets, starts)
        return _feature_normalizer(features), jnp.sqrt(jnp.nanmean(left**2, axis=0)).astype(jnp.float32)

    return jax.vmap(one)(starts)


def _nothing(op, z, fz, point):
    return jnp.zeros(())


@jax.jit
def _normalizer(values: Float[Array, "instances *shape"]) -> Normalizer:
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale = jnp.where(scale > 1e-6 * (1 + jnp.abs(mean)), scale, 0)
    return Normalizer(mean.astype(jnp.float32), scale.astype(jnp.float32))


def _feature_normalizer(features) -> FeatureNormalizer:
    return FeatureNormalizer(*(_normalizer(part) for part in (features.vectors, features.scalars, features.context)))


def _without_stage(normalizer: FeatureNormalizer, stages: int) -> FeatureNormalizer:
    """The one-hot stage is not standardised."""
    if not stages:
        return normalizer
    scalars = normalizer.scalars
    scalars = Normalizer(scalars.mean.at[-stages:].set(0), scalars.scale.at[-stages:].set(1))
    return FeatureNormalizer(normalizer.vectors, scalars, normalizer.context)
