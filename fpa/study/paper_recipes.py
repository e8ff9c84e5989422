"""The paper's recipes: its models, its losses through the solver, its schedules (Sections 4 and 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import fpa
from fpa.accelerators import collapse
from fpa.study import paper
from fpa.study.families import Family, on_u, summary
from fpa.training import AbstractObjective, TruncatedWindows, Validation, calibrate, fit, stack

_ADAM = {"learning rate": 1e-3, "beta_1": 0.9, "beta_2": 0.999}

# Section 4 names no winner of its search; this is the middle of Table 3.
RECURRENT: Mapping[str, Any] = {
    **_ADAM,
    "cosine decay": True,
    "max gradient": 10.0,
    "initial hidden state": True,
    "initial iterate": True,
    "initializer units": 512,
    "initializer activation": "relu",
    "initializer depth": 1,
    "encoder units": 512,
    "encoder activation": "relu",
    "encoder depth": 1,
    "decoder units": 1024,
    "decoder activation": "relu",
    "decoder depth": 4,
    "weight scaling": 128.0,
    "cell": "LSTM",
    "cell units": 512,
    "cell depth": 2,
}
_MLP = {**_ADAM, "cosine decay": False, "max gradient": 100.0, "activation": "relu", "depth": 3}

# Section 5.3.2; an interval (i, r_i) is the window of r_i maps after the access at i.
INTERMITTENT: Mapping[str, Mapping[str, Any]] = {
    "lasso": {
        **_MLP,
        "factors": 1,
        "initializer units": 2560,
        "units": 5120,
        "access": (1, 2, 5, 10, 15),
        "intervals": ((0, 5), (1, 10), (2, 10), (5, 10), (10, 20), (15, 20)),
    },
    "kalman": {
        **_MLP,
        "factors": 2,
        "initializer units": 15000,
        "units": 7680,
        "access": (1, 2, 5, 10, 20),
        "intervals": ((0, 15), (1, 15), (2, 15), (5, 30), (10, 30), (20, 30)),
    },
}


@dataclass(frozen=True)
class Recipe:
    """How long and on how much; `changes` replaces entries of the tables above."""

    problem: str
    seeds: int
    calibration: int
    updates: int
    batch: int
    changes: tuple[tuple[str, Any], ...] = ()


def train_recurrent(
    family: Family, distribution: fpa.AbstractConeDistribution, recipe: Recipe, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """Algorithm 1 with equation (7) over 50 iterations."""
    choice = {**RECURRENT, **dict(recipe.changes)}
    seen = _calibrate(family, distribution, recipe, seed, history=1)
    keys = jax.random.split(jax.random.key(seed), recipe.seeds)
    models = [paper.recurrent(seen, choice, on_u(distribution), key) for key in keys]
    return _fit(models, distribution, paper.unrolled(choice.get("iterations", 50)), choice, recipe, seed, checkpoint)


def train_intermittent(
    family: Family, distribution: fpa.AbstractConeDistribution, recipe: Recipe, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """Algorithm 2 with the truncated windows and the log loss of Section 5; layers are multiplied out at the end."""
    choice = {**INTERMITTENT[recipe.problem], **dict(recipe.changes)}
    seen = _calibrate(family, distribution, recipe, seed, stages=paper.told(choice["access"]))
    keys = jax.random.split(jax.random.key(seed), recipe.seeds)
    models = [paper.intermittent(seen, choice, key) for key in keys]
    return _fit(models, distribution, TruncatedWindows(choice["intervals"]), choice, recipe, seed, checkpoint)


def _calibrate(family: Family, distribution: fpa.AbstractConeDistribution, recipe: Recipe, seed: int, **shape: int):
    key = fpa.role_key(seed, "train")
    return calibrate(fpa.SCS(), distribution, key, family.reference, num_instances=recipe.calibration, **shape)


def _fit(models, distribution, objective: AbstractObjective, choice, recipe: Recipe, seed: int, checkpoint: Path):
    ensemble, history = fit(
        fpa.Solver(fpa.SCS(), stack(models)),
        distribution,
        objective,
        jax.random.fold_in(fpa.role_key(seed, "train"), 1),
        num_updates=recipe.updates,
        batch_size=recipe.batch,
        optimizer=paper.optimizer(choice, recipe.updates),
        validation=Validation(fpa.role_key(seed, "validation"), max(recipe.updates // 100, 1)),
        checkpoint=checkpoint,
    )
    plain = [collapse(fpa.member(ensemble, index).accelerator) for index in range(recipe.seeds)]
    return fpa.halved(fpa.Solver(fpa.SCS(), stack(plain))), summary([history])
