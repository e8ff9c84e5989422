"""How the study trains intermittent models (Algorithm 2) in its profile `laptop`.

A model grows by stages, g_init first: each access gets a network of its own, fitted to the distance to the solution
right after it, on the iterates that the finished stages produce. The networks share their weights over the sites of
the family's layout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import fpa
from fpa.accelerators import Correction, Initializer, Intermittent, SiteNetwork, SiteTrunk
from fpa.accelerators.features import FeatureNormalizer
from fpa.layouts import Layout
from fpa.study.families import Family, summary
from fpa.study.schedules import adam
from fpa.training import Calibration, LastAccess, advance, calibrate, calibrate_access, draw_pool, fit, stack

_PLAIN = fpa.SCS()


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule of a training run."""

    access: list[int]
    seeds: int
    pool: int
    calibration: int
    first_updates: int
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
    checkpoint: Path,
    splitting: fpa.SCS = _PLAIN,
    dtype: Any = jnp.float32,
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of `recipe.seeds` trained models, their weights rounded to half precision, and what training was.

    They accelerate the map of `splitting`, which training iterates in the precision `dtype`; networks are in single.
    Models are trained one after the other within each stage: on two cores their small matrix products together take
    longer than one by one. A finished or interrupted piece leaves its own checkpoint beside `checkpoint`, from which
    the same call goes on.
    """
    keys = jax.random.split(fpa.role_key(seed, "train"), 3)
    calibration = calibrate(splitting, distribution, keys[0], family.reference, num_instances=recipe.calibration)
    regression = family.regression(distribution)
    pool = draw_pool(distribution, regression, keys[1], recipe.pool, dtype)
    layout = family.layout(distribution)
    models, histories, done = _only_first(family, layout, calibration, recipe), [], 0
    pools = [pool] * recipe.seeds
    for stage, access in enumerate((0, *recipe.access)):
        updates = recipe.updates if access else recipe.first_updates
        options = {
            "num_updates": updates,
            "batch_size": recipe.batch,
            "optimizer": adam(recipe.rate, updates),
            "trainable": _newest,
            "checkpoint_every": 200,
            "dtype": dtype,
            "description": f"train the access at {access}" if access else "train the initializer",
        }
        for i in range(recipe.seeds):
            if access:
                pools[i] = advance(_on(splitting, models[i]), distribution, pools[i], done, access)
                seen, units = calibrate_access(splitting, distribution, pools[i], recipe.calibration)
                network = _network(family, layout, fpa.member(seen, 0), recipe, stage, i)
                models[i] = stack([_with_access(fpa.member(models[i], 0), network, units[0], access)])
            trained, history = fit(
                _on(splitting, models[i]),
                distribution,
                LastAccess(regression) if access else regression,
                jax.random.fold_in(jax.random.fold_in(keys[2], stage), i),
                pool=pools[i],
                checkpoint=checkpoint.with_suffix(f".{stage}.{i}.checkpoint"),
                **options,
            )
            models[i] = trained.accelerator
            histories.append(history)
        done = access
    return fpa.halved(_on(splitting, *models)), summary(histories)


def _on(splitting: fpa.SCS, *models: Any) -> fpa.Solver:
    """An ensemble of solvers from accelerators that are each an ensemble of one."""
    return stack([fpa.Solver(splitting, fpa.member(model, 0)) for model in models])


def _network(family: Family, layout: Layout, seen: FeatureNormalizer, recipe: Recipe, stage: int, member: int):
    key = jax.random.fold_in(jax.random.key(member), stage)
    return SiteNetwork(SiteTrunk(key, layout, seen, family.ordered, recipe.width, recipe.hidden, recipe.depth))


def _only_first(family: Family, layout: Layout, calibration: Calibration, recipe: Recipe) -> list[Any]:
    """Untrained initializers without any access, each an ensemble of one; they predict the mean solution."""
    networks = [_network(family, layout, calibration.first, recipe, 0, member) for member in range(recipe.seeds)]
    none = Correction((), jnp.zeros((0, layout.size), jnp.float32), calibration.tau, 0)
    return [stack([Intermittent(Initializer(n, calibration.solutions, calibration.tau), none, ())]) for n in networks]


def _with_access(model: Intermittent, network: SiteNetwork, unit: jax.Array, access: int) -> Intermittent:
    """The model with one more access, which is still untrained."""
    before = model.correction
    units = jnp.concatenate([before.units, unit[None]])
    correction = Correction((*before.networks, network), units, before.tau, before.stages + 1)
    return Intermittent(model.initializer, correction, (*model.access, access), model.history)


def _newest(solver: Any) -> Any:
    """What is trained: the network that was added last."""
    model = solver.accelerator
    return model.correction.networks[-1] if model.access else model.initializer.network
