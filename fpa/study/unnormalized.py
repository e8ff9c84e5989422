"""Appendix D: the recurrent model trained on raw residuals, free to choose tau."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import fpa
from fpa.accelerators import GRU, MLP, FlatRecurrent, UnnormalizedRecurrent
from fpa.study import paper
from fpa.study.families import Family, on_u, summary
from fpa.training import Calibration, Unrolled, calibrate, fit, stack


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule: `updates` through `horizon` maps, on fresh instances."""

    seeds: int
    calibration: int
    horizon: int
    updates: int
    batch: int
    rate: float
    units: int
    depth: int


def train(
    family: Family, distribution: fpa.AbstractDistribution, recipe: Recipe, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of dense models, trained one after the other with equation (7) *without* division by tau."""
    key = fpa.role_key(seed, "train")
    seen = calibrate(fpa.SCS(), distribution, key, family.reference, history=1, num_instances=recipe.calibration)
    schedule = {"learning rate": recipe.rate, "beta_1": 0.9, "beta_2": 0.99, "cosine decay": True, "max gradient": 10.0}
    optimizer = paper.optimizer(schedule, recipe.updates)
    models, histories = [], []
    for member in range(recipe.seeds):
        trained, history = fit(
            fpa.Solver(fpa.SCS(), stack([_fresh(seen, distribution, recipe, member)])),
            distribution,
            Unrolled(recipe.horizon, normalized=False, relative=True),
            jax.random.fold_in(key, 1 + member),
            num_updates=recipe.updates,
            batch_size=recipe.batch,
            optimizer=optimizer,
            checkpoint=checkpoint.with_suffix(f".{member}.checkpoint"),
            checkpoint_every=100,
            description=f"train model {member + 1} of {recipe.seeds}",
        )
        models.append(fpa.member(trained.accelerator, 0))
        histories.append(history)
    return fpa.halved(fpa.Solver(fpa.SCS(), stack(models))), summary(histories)


def _fresh(
    seen: Calibration, distribution: fpa.AbstractDistribution, recipe: Recipe, member: int
) -> UnnormalizedRecurrent:
    """Encoder, cell and decoder as in Section 4, with one answer more."""
    keys = jax.random.split(jax.random.key(member), 3)
    size, normalizer = seen.unit.size, paper.flat(seen.later, only_iterates=True)
    network = FlatRecurrent(
        hidden=None,
        normalizer=normalizer,
        encoder=MLP(keys[0], normalizer.mean.size, recipe.units, recipe.units, recipe.depth),
        cell=GRU(keys[1], recipe.units, recipe.units),
        decoder=MLP(keys[2], recipe.units, size + 1, recipe.units, recipe.depth, weight_scaling=16.0),
    )
    return UnnormalizedRecurrent(network, on_u(distribution) * seen.unit, jnp.asarray(seen.tau))
