"""How the study's models are built and trained: one place for the families, the networks and the schedules.

The recipe `laptop` fits every stage of an intermittent model at once: after g_init and after every access the distance
to the solution, on the iterates that the model itself produces. Its networks share their weights over the sites of the
family's layout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

import fpa
from fpa.accelerators import Correction, Initializer, Intermittent, SiteNetwork, SiteTrunk
from fpa.layouts import Layout, site_layout
from fpa.training import Calibration, Regression, Validation, calibrate, draw_pool, fit, stack


@dataclass(frozen=True)
class Family:
    """A family of the study: its distribution, its repeated parts, and the solver that makes its training targets.

    `labels` gives the families of labels for `site_layout`; `ordered` says which of the layout's groups are in a row.
    """

    title: str
    make: Callable[[], fpa.AbstractDistribution]
    labels: Callable[[], list[Mapping[str, np.ndarray]]]
    ordered: tuple[bool, ...]
    reference: fpa.Solver
    access: tuple[int, ...]

    def layout(self, distribution: fpa.AbstractDistribution) -> Layout:
        """The layout of the family's coordinates."""
        return site_layout(distribution.canonical, self.labels())


def _time_steps(steps: int = 50) -> list[Mapping[str, np.ndarray]]:
    step = np.arange(steps + 1)
    return [{"x": np.tile(step, (4, 1))} | {name: np.tile(step[:-1], (2, 1)) for name in "wvy"}]


FAMILIES = {
    "lasso": Family(
        "Lasso",
        fpa.Lasso,
        lambda: [{"z": np.arange(50)}, {"g": np.arange(100)}],
        (False, False, False),
        fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=10, kind="II")),
        (1, 2, 5, 10, 15),
    ),
    "kalman": Family(
        "Robust Kalman filtering",
        fpa.RobustKalman,
        _time_steps,
        (True, False),
        fpa.Solver(fpa.SCS(scale=2.15, zero_scale=1000.0, relaxation=1.7, rho_x=1e-6)),
        (1, 2, 5, 10, 20),
    ),
}


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule of a training run."""

    seeds: int
    pool: int
    calibration: int
    updates: int
    batch: int
    rate: float
    width: int
    hidden: int
    depth: int

    def optimizer(self) -> optax.GradientTransformation:
        """Adam with warm-up and cosine decay, and gradients clipped to length 10."""
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.rate, max(self.updates // 10, 1), self.updates)
        return optax.chain(optax.clip_by_global_norm(10.0), optax.adam(schedule))


def intermittent(family: Family, layout: Layout, calibration: Calibration, recipe: Recipe, seed: int) -> Intermittent:
    """An untrained intermittent model; it predicts the mean solution and then iterates plainly."""
    first, *later = jax.random.split(jax.random.key(seed), len(family.access) + 1)

    def network(key, normalizer):
        sizes = (recipe.width, recipe.hidden, recipe.depth)
        return SiteNetwork(SiteTrunk(key, layout, normalizer, family.ordered, *sizes))

    initializer = Initializer(network(first, calibration.first), calibration.solutions, calibration.tau)
    networks = tuple(network(key, calibration.later) for key in later)
    correction = Correction(networks, calibration.unit, calibration.tau, len(family.access))
    return Intermittent(initializer, correction, family.access)


def train_intermittent(
    family: Family,
    distribution: fpa.AbstractDistribution,
    recipe: Recipe,
    seed: int,
    checkpoint: str | None = None,
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of `recipe.seeds` trained models, their weights rounded to half precision, and what training was."""
    key = fpa.role_key(seed, "train")
    keys = jax.random.split(key, 3)
    objective = Regression(family.reference, tol=1e-5)
    stages = len(family.access)
    calibration = calibrate(
        fpa.SCS(), distribution, keys[0], family.reference, stages, num_instances=recipe.calibration, tol=1e-5
    )
    layout = family.layout(distribution)
    models = [intermittent(family, layout, calibration, recipe, member) for member in range(recipe.seeds)]
    ensemble, history = fit(
        fpa.Solver(fpa.SCS(), stack(models)),
        distribution,
        objective,
        keys[2],
        num_updates=recipe.updates,
        batch_size=recipe.batch,
        optimizer=recipe.optimizer(),
        pool=draw_pool(distribution, objective, keys[1], recipe.pool),
        validation=Validation(fpa.role_key(seed, "validation"), every=max(recipe.updates // 8, 1)),
        checkpoint=checkpoint,
        checkpoint_every=100,
    )
    record = {
        "update_seconds": round(history.seconds, 1),
        "losses": np.round(np.asarray(history.losses), 4).tolist(),
        "scored": history.scored,
        "scores": np.round(np.asarray(history.scores), 4).tolist(),
        "skipped": history.skipped,
        "dropped": history.dropped,
    }
    return fpa.halved(ensemble), record
