"""Does overparametrisation save updates? The dense g_init of Section 5, plain and with every layer as a product.

Both are fitted to the distance to the solution on the same instances, batch for batch; what counts is the score on
validation instances: the mean logarithm of the residuals at tau = 1 of plain iteration from the predicted iterate.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

import fpa
from fpa.accelerators import MLP, Correction, FlatNetwork, Initializer, Intermittent
from fpa.study import paper
from fpa.study.families import Family
from fpa.training import Validation, calibrate, draw_pool, fit, stack


@dataclass(frozen=True)
class Race:
    """Sizes and schedule, the same for both networks; `every` is how many updates lie between two scores."""

    seeds: int
    pool: int
    updates: int
    every: int
    batch: int
    rate: float
    units: int
    depth: int
    num_steps: int

    def run(self, family: Family, distribution: fpa.AbstractConeDistribution, seed: int) -> list[dict[str, Any]]:
        """Scores of all models: rows with `factors`, `updates` and `scores`, one score per model."""
        keys = jax.random.split(fpa.role_key(seed, "train"), 3)
        calibration = calibrate(fpa.SCS(), distribution, keys[0], family.reference, num_instances=min(self.pool, 500))
        objective = family.regression(distribution)
        pool = draw_pool(distribution, objective, keys[1], self.pool)
        rows = []
        for factors in (1, 2):
            models = stack([self._model(calibration, factors, member) for member in range(self.seeds)])
            history = fit(
                fpa.Solver(fpa.SCS(), models),
                distribution,
                objective,
                keys[2],
                num_updates=self.updates,
                batch_size=self.batch,
                optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(self.rate)),
                pool=pool,
                validation=Validation(fpa.role_key(seed, "validation"), self.every, num_steps=self.num_steps),
                description=f"train with {factors} matrices per layer",
            )[1]
            pairs = zip(history.scored, history.scores, strict=True)
            rows += [{"factors": factors, "updates": k, "scores": np.asarray(s).tolist()} for k, s in pairs]
        return rows

    def _model(self, calibration, factors: int, member: int) -> Intermittent:
        size, normalizer = calibration.unit.size, paper.flat(calibration.first)
        key = jax.random.key(member)
        mlp = MLP(key, normalizer.mean.size, size, self.units, self.depth, factors=factors)
        initializer = Initializer(FlatNetwork(normalizer, mlp), calibration.solutions, calibration.tau)
        none = Correction((), jnp.zeros((0, size), jnp.float32), calibration.tau, 0)
        return Intermittent(initializer, none, ())


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Mean, smallest and largest score by network and number of updates."""
    scores = [np.asarray(row["scores"]) for row in rows]
    frame = pd.DataFrame([{"factors": row["factors"], "updates": row["updates"]} for row in rows])
    return frame.assign(
        score=[s.mean() for s in scores], lowest=[s.min() for s in scores], highest=[s.max() for s in scores]
    )


def share_of_updates(scores: pd.DataFrame) -> float:
    """The updates after which the overparametrised networks are as good as the plain ones at the end, over theirs.

    Infinite if they never are.
    """
    plain, over = (scores[scores["factors"] == factors] for factors in (1, 2))
    as_good = over[over["score"] <= plain["score"].iloc[-1]]
    return float(as_good["updates"].iloc[0] / plain["updates"].iloc[-1]) if len(as_good) else float("inf")
