"""A learned diagonal metric for the SCS map.

The weights multiply those that the splitting has, so that an untrained network is tuned scalars, or one metric for
all. The network shares its own weights over the sites of the family's layout and sees what g_init sees, the
equilibrated data and their linear response.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import fpa
from fpa.accelerators import SiteNetwork, SiteTrunk
from fpa.study.families import Family, summary
from fpa.study.schedules import ConstantRecipe, adam
from fpa.training import calibrate, fit


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule of a training run; the loss are the KKT residuals after `steps` iterations."""

    steps: int
    seeds: int
    calibration: int
    updates: int
    batch: int
    rate: float
    width: int
    hidden: int
    depth: int


def train(
    family: Family,
    distribution: fpa.AbstractConeDistribution,
    recipe: Recipe,
    seed: int,
    splitting: Any,
    checkpoint: Path,
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of `recipe.seeds` solvers: learned metrics on top of that of `splitting`.

    Trained in double precision, as the tuned scalars of Kalman filtering are too far apart for single; then rounded to
    half.
    """
    keys = jax.random.split(fpa.role_key(seed, "train"), 3)
    calibration = calibrate(fpa.SCS(), distribution, keys[0], family.reference, num_instances=recipe.calibration)
    layout = family.layout(distribution)

    def untrained(key: jax.Array) -> fpa.Solver:
        sizes = (recipe.width, recipe.hidden, recipe.depth)
        network = SiteNetwork(SiteTrunk(key, layout, calibration.first, family.ordered, *sizes))
        metric = fpa.LearnedMetric(network, fpa.SCS())
        return fpa.Solver(_with_metric(splitting, fpa.ProductMetric((splitting.metric, metric))))

    ensemble, history = fit(
        fpa.stack([untrained(key) for key in jax.random.split(keys[1], recipe.seeds)]),
        distribution,
        fpa.LastKKT(recipe.steps),
        keys[2],
        num_updates=recipe.updates,
        batch_size=recipe.batch,
        optimizer=adam(recipe.rate, recipe.updates),
        trainable=_network,
        checkpoint=checkpoint,
        checkpoint_every=50,
        dtype=jnp.float64,
        description="train the metric",
    )
    return fpa.halved(ensemble), summary([history])


def _network(solver: Any) -> Any:
    """What is trained: the network of the metric."""
    return solver.splitting.metric.factors[-1].network


def train_constant(
    distribution: fpa.AbstractConeDistribution, splitting: fpa.SCS, recipe: ConstantRecipe, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of one solver: `splitting` with one metric for the whole family. Every weight is 1 at first.

    It is trained for the KKT residuals. The rows' weights are trained alone: those of x go to where
    rounding limits the accuracy.
    """
    fitted, history = fpa.fit_metric(
        splitting,
        distribution,
        jax.random.fold_in(fpa.role_key(seed, "train"), 1),
        objective=fpa.LastKKT(recipe.steps),
        num_updates=recipe.updates,
        batch_size=recipe.batch,
        optimizer=recipe.optimizer,
        checkpoint=checkpoint,
        description="train one metric",
    )
    return fpa.stack([fpa.Solver(fitted)]), summary([history])


def _with_metric(splitting: fpa.SCS, metric: fpa.AbstractMetric) -> fpa.SCS:
    return eqx.tree_at(lambda splitting: splitting.metric, splitting, metric)


def averaged(
    splitting: fpa.SCS, distribution: fpa.AbstractConeDistribution, seed: int, num_instances: int
) -> fpa.Solver:
    """The splitting in one metric for all: the geometric mean of the learned weights over "tune" instances."""
    parameters = fpa.sample_batch(distribution, fpa.role_key(seed, "tune"), num_instances)
    x, s = (jnp.exp(jnp.log(weights).mean(axis=0)) for weights in _weights(splitting.metric, distribution, parameters))
    return fpa.Solver(_with_metric(splitting, fpa.ConstantMetric(x, s)))


@eqx.filter_jit
def _weights(metric: fpa.AbstractMetric, distribution: fpa.AbstractConeDistribution, parameters: Any):
    return jax.lax.map(lambda p: metric(distribution.program(p)), parameters)
