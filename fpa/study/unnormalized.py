"""Appendix D: a recurrent model trained on raw residuals, free to choose tau."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import fpa
from fpa.accelerators import GRU, MLP, FlatRecurrent, Normalizer, UnnormalizedRecurrent
from fpa.accelerators.recurrent import iterates
from fpa.accelerators.unnormalized import raw_features
from fpa.study.families import summary
from fpa.study.schedules import adam
from fpa.training import Unrolled, fit, stack

_STEPS = 50


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule: `updates[i]` through `horizons[i]` maps, on fresh instances."""

    seeds: int
    calibration: int
    horizons: list[int]
    updates: list[int]
    batch: int
    rate: float
    units: int
    depth: int


def train(
    distribution: fpa.AbstractConeDistribution, recipe: Recipe, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of dense models, trained one after the other with equation (7) *without* division by tau."""
    key = fpa.role_key(seed, "train")
    normalizer = calibrate(distribution, jax.random.fold_in(key, 0), recipe.calibration)
    models, histories = [], []
    for member in range(recipe.seeds):
        model = fresh(distribution, normalizer, recipe, jax.random.key(member))
        for phase, (horizon, updates) in enumerate(zip(recipe.horizons, recipe.updates, strict=True)):
            trained, history = fit(
                fpa.Solver(fpa.SCS(), stack([model])),
                distribution,
                Unrolled(horizon, normalized=False, relative=True),
                jax.random.fold_in(jax.random.fold_in(key, 1 + phase), member),
                num_updates=updates,
                batch_size=recipe.batch,
                optimizer=adam(recipe.rate, updates),
                checkpoint=checkpoint.with_suffix(f".{phase}.{member}.checkpoint"),
                checkpoint_every=100,
                description=f"model {member + 1} of {recipe.seeds}, through {horizon} iterations",
            )
            model = fpa.member(trained.accelerator, 0)
            histories.append(history)
        models.append(model)
    return fpa.halved(fpa.Solver(fpa.SCS(), stack(models))), summary(histories)


def calibrate(distribution: fpa.AbstractConeDistribution, key: PRNGKeyArray, num_instances: int) -> Normalizer:
    """Means and spreads of what the network sees, over instances and 50 iterations of plain SCS."""
    seen = _observe(distribution, fpa.sample_batch(distribution, key, num_instances)).reshape(
        num_instances * _STEPS, -1
    )
    return Normalizer(seen.mean(axis=0), seen.std(axis=0))


@eqx.filter_jit
def _observe(distribution: fpa.AbstractConeDistribution, batch: Any) -> Float[Array, "instances iterations features"]:
    def one(parameters):
        op = fpa.SCS().bind(distribution.program(parameters))
        solver = fpa.Solver()
        record = lambda op, z, fz, point: iterates(raw_features(z, fz))  # noqa: E731
        return solver.run(op, op.initial(), None, 0, _STEPS, record)[2]

    return jax.vmap(one)(batch)


def fresh(
    distribution: fpa.AbstractConeDistribution, normalizer: Normalizer, recipe: Recipe, key: PRNGKeyArray
) -> UnnormalizedRecurrent:
    """Encoder, cell and decoder as in Section 4; u has n + m + 1 numbers, its last is tau, and v as many."""
    size = distribution.canonical.c.base.size + distribution.canonical.b.base.size + 1
    keys = jax.random.split(key, 3)
    network = FlatRecurrent(
        hidden=None,
        normalizer=normalizer,
        encoder=MLP(keys[0], normalizer.mean.size, recipe.units, recipe.units, recipe.depth),
        cell=GRU(keys[1], recipe.units, recipe.units),
        decoder=MLP(keys[2], recipe.units, 2 * size, recipe.units, recipe.depth, weight_scaling=16.0),
    )
    usual = jnp.abs(normalizer.mean) + normalizer.scale
    return UnnormalizedRecurrent(network, usual[: 2 * size].at[size:].set(0))
