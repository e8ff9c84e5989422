"""Methods for composite programs, learned and classical, with the right step and as released.

Training follows Liu et al. (2023): fresh batches, each run for `segments` times `length` iterations with an update
after every segment, Adam at a constant rate, the model with the best mean objective on validation instances.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

import fpa
from fpa.accelerators import learned_descent, rnnprop
from fpa.composite import CompositeProgram
from fpa.maps import AbstractStepSize
from fpa.study.families import summary
from fpa.training import LastError, draw_pool, fit, fit_segments

STEP = 0.9999
"""The paper's step, in units of 1 / L."""
REFERENCE = fpa.Solver(fpa.ProximalGradient(), fpa.Nesterov(restart=True))
TOL, MAX_STEPS = 1e-12, 50_000


class ReleasedStep(AbstractStepSize):
    """0.9999 / ||A||_2, which the released code takes for 1 / L on logistic regression, where L = ||A||_2^2 / (4 m)."""

    def __call__(self, program: CompositeProgram):
        return STEP / jnp.sqrt(program.smooth.lipschitz / program.smooth.curvature)


RIGHT = fpa.ProximalGradient(fpa.InverseLipschitz(STEP))
RELEASED = fpa.ProximalGradient(ReleasedStep())


@dataclass(frozen=True)
class Recipe:
    """Methods of one make to be trained together, a model for each name, and the sizes and schedule of training.

    The names are variants of rule (18), with " released" behind them where biases are positive as in the released code,
    or "DM", or "RNNprop". With `bounded` off, rule (18) has the released step, too short for logistic regression, and
    no upper bound on p, as in the released code. `spread` is that of RNNprop's first hidden states.
    """

    methods: tuple[str, ...]
    batches: int
    batch: int
    rate: float
    segments: int = 5
    length: int = 20
    units: int = 20
    depth: int = 2
    bounded: bool = True
    spread: float = 1.0

    def untrained(self, name: str, key: PRNGKeyArray) -> fpa.Solver:
        """The model called `name`, with random weights."""
        size = {"units": self.units, "depth": self.depth}
        if name == "DM":
            return fpa.Solver(fpa.Subgradient(), learned_descent(key, **size))
        if name == "RNNprop":
            return fpa.Solver(fpa.Subgradient(), rnnprop(key, spread=self.spread, **size))
        variant, _, released = name.partition(" ")
        balanced = any("B" in other for other in self.methods)
        shape = {"bounded": self.bounded, "positive": bool(released), "balanced": balanced, **size}
        splitting = RIGHT if self.bounded else RELEASED
        return fpa.Solver(splitting, fpa.preconditioned_momentum(key, variant, **shape))


def train(
    distribution: fpa.AbstractDistribution, recipe: Recipe, seed: int, validation: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble with a model for each of `recipe.methods`, trained together in single precision.

    `validation` is the number of instances on which the best models are chosen. Different methods start from the same
    random weights, the same ones from different weights.
    """
    keys = jax.random.split(fpa.role_key(seed, "train"), 2)
    earlier = [recipe.methods[:k].count(name) for k, name in enumerate(recipe.methods)]
    members = [
        recipe.untrained(name, jax.random.fold_in(keys[0], k)) for name, k in zip(recipe.methods, earlier, strict=True)
    ]
    horizon = recipe.segments * recipe.length
    every = max(recipe.batches // 20, 1)
    ensemble, history = fit_segments(
        fpa.stack(members),
        distribution,
        keys[1],
        num_batches=recipe.batches,
        batch_size=recipe.batch,
        optimizer=_adam(recipe.rate),
        segments=recipe.segments,
        length=recipe.length,
        validation=fpa.MeanValue(fpa.role_key(seed, "validation"), every, validation, horizon),
        checkpoint=checkpoint,
        description=f"train {', '.join(dict.fromkeys(recipe.methods))}",
    )
    return ensemble, summary([history])


def train_ada_lista(
    distribution: fpa.SparseCoding,
    layers: int,
    updates: int,
    batch: int,
    rate: float,
    pool: int,
    seed: int,
    checkpoint: Path,
) -> tuple[fpa.Solver, dict[str, Any]]:
    """Ada-LISTA, layer after layer: the distance to the solution after 1, ..., `layers` iterations."""
    keys = jax.random.split(fpa.role_key(seed, "train"), layers + 1)
    ensemble = fpa.stack([fpa.Solver(RIGHT, fpa.AdaLISTA(distribution.m, layers))])
    drawn = draw_pool(distribution, LastError(layers, REFERENCE, TOL, MAX_STEPS), keys[-1], pool, jnp.float32)
    histories = []
    for layer in range(layers):
        ensemble, history = fit(
            ensemble,
            distribution,
            LastError(layer + 1, REFERENCE, TOL, MAX_STEPS),
            keys[layer],
            num_updates=updates,
            batch_size=batch,
            optimizer=_adam(rate),
            pool=drawn,
            checkpoint=checkpoint.with_name(f"{checkpoint.stem}_{layer}.checkpoint"),
            description=f"train Ada-LISTA, layer {layer + 1}",
        )
        histories.append(history)
    return ensemble, summary(histories)


def classical(released: bool = False) -> dict[str, fpa.Solver]:
    """Methods without training, with the step 0.9999 / L; those with the released step too, where it is another."""
    solvers = {
        "ISTA": fpa.Solver(RIGHT),
        "FISTA": fpa.Solver(RIGHT, fpa.Nesterov()),
        "FISTA+restart": fpa.Solver(RIGHT, fpa.Nesterov(restart=True)),
        "PG+AA": fpa.Solver(RIGHT, fpa.Safeguarded(fpa.AndersonAcceleration(memory=10, kind="II"))),
    }
    if released:
        solvers |= {
            "ISTA released": fpa.Solver(RELEASED),
            "FISTA released": fpa.Solver(RELEASED, fpa.Nesterov()),
        }
    return solvers


def adaptive() -> dict[str, fpa.Solver]:
    """Adam and AdamHD as tuned by the paper's authors for synthetic problems."""
    return {
        "Adam": fpa.Solver(fpa.Subgradient(), fpa.Adam(1e-2, (0.1, 0.1))),
        "AdamHD": fpa.Solver(fpa.Subgradient(), fpa.Adam(0.1, (1e-3, 0.1), 1e-7)),
    }


def on_patches() -> dict[str, fpa.Solver]:
    """Adam and AdamHD as tuned by the paper's authors for image patches."""
    return {
        "Adam": fpa.Solver(fpa.Subgradient(), fpa.Adam(1e-3, (1e-4, 0.1))),
        "AdamHD": fpa.Solver(fpa.Subgradient(), fpa.Adam(1e-2, (1e-2, 1e-2), 1e-8)),
    }


def safe(solver: fpa.Solver) -> fpa.Solver:
    """The same method under a safeguard, which then converges whatever its weights are."""
    return fpa.Solver(solver.splitting, fpa.Safeguarded(solver.accelerator))


@functools.cache
def _adam(rate: float) -> optax.GradientTransformation:
    """Adam; one object per rate, and so one compilation."""
    return optax.adam(rate)
