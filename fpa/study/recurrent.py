"""How the study trains recurrent models (Algorithm 1) in its profile `laptop`.

First g_init alone, fitted to the distance to the solution; then g_init and the recurrent network together, through
ever longer runs of the solver. The loss is that of the plots: the logarithm of the batch's mean residual at tau = 1,
summed over iterations. Networks share their weights over the sites of the family's layout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import fpa
from fpa.accelerators import Initializer, Recurrent, SiteNetwork, SiteRecurrent, SiteTrunk
from fpa.layouts import Layout
from fpa.study.families import Family, on_u, summary
from fpa.study.schedules import adam
from fpa.training import Calibration, Unrolled, calibrate, draw_pool, fit, stack
from fpa.training.loop import accelerator


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule: `first_updates` of g_init at `first_rate`, then `updates[i]` through `horizons[i]` maps."""

    seeds: int
    pool: int
    calibration: int
    first_updates: int
    first_rate: float
    horizons: list[int]
    updates: list[int]
    rates: list[float]
    batch: int
    width: int
    hidden: int
    depth: int


def train(
    family: Family, distribution: fpa.AbstractConeDistribution, recipe: Recipe, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of `recipe.seeds` trained models, their weights rounded to half precision, and what training was.

    Models are trained one after the other within each phase: on two cores their small matrix products together take
    longer than one by one. A finished or interrupted piece leaves its own checkpoint beside `checkpoint`, from which
    the same call goes on.
    """
    keys = jax.random.split(fpa.role_key(seed, "train"), 3)
    calibration = calibrate(
        fpa.SCS(), distribution, keys[0], family.reference, history=1, num_instances=recipe.calibration
    )
    layout = family.layout(distribution)
    models = [_fresh(family, distribution, layout, calibration, recipe, member) for member in range(recipe.seeds)]
    regression, histories = family.regression(distribution), []
    pool = draw_pool(distribution, regression, keys[1], recipe.pool)
    phases = [(0, recipe.first_updates, recipe.first_rate)]
    phases += list(zip(recipe.horizons, recipe.updates, recipe.rates, strict=True))
    for phase, (horizon, updates, rate) in enumerate(phases):
        options = {
            "num_updates": updates,
            "batch_size": recipe.batch,
            "optimizer": adam(rate, updates),
            "trainable": accelerator if horizon else _first,
            "pool": None if horizon else pool,
            "checkpoint_every": 100,
            "description": f"train through {horizon} iterations" if horizon else "train the initializer",
        }
        for i in range(recipe.seeds):
            trained, history = fit(
                fpa.Solver(fpa.SCS(), stack([models[i]])),
                distribution,
                Unrolled(horizon, pooled=True) if horizon else regression,
                jax.random.fold_in(jax.random.fold_in(keys[2], phase), i),
                checkpoint=checkpoint.with_suffix(f".{phase}.{i}.checkpoint"),
                **options,
            )
            models[i] = fpa.member(trained.accelerator, 0)
            histories.append(history)
    return fpa.halved(fpa.Solver(fpa.SCS(), stack(models))), summary(histories)


def _fresh(
    family: Family,
    distribution: fpa.AbstractConeDistribution,
    layout: Layout,
    calibration: Calibration,
    recipe: Recipe,
    member: int,
) -> Recurrent:
    """An untrained model: the mean solution, then plain iteration."""
    first, later = jax.random.split(jax.random.key(member))
    sizes = recipe.width, recipe.hidden, recipe.depth
    network = SiteNetwork(SiteTrunk(first, layout, calibration.first, family.ordered, *sizes))
    initializer = Initializer(network, calibration.solutions, calibration.tau)
    recurrent = SiteRecurrent(later, layout, calibration.later, family.ordered, *sizes)
    return Recurrent(initializer, recurrent, on_u(distribution), calibration.tau)


def _first(solver: Any) -> Any:
    """What is trained first: the initializer's network."""
    return solver.accelerator.initializer.network
