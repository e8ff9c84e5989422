"""A small random search over the paper's Tables 3 and 4, with its own models and losses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import fpa
from fpa.study import paper
from fpa.study.families import Family, on_u
from fpa.training import Validation, calibrate, fit, stack


@dataclass(frozen=True)
class Search:
    """`draws` choices per table, no layer wider than `largest`, trained for `updates` through `num_steps` maps.

    Window lengths of Table 4 are cut at `num_steps` too. The score is that of `fpa.Validation`, smaller is better.
    """

    draws: int
    updates: int
    largest: int
    num_steps: int
    calibration: int

    def run(self, name: str, family: Family, distribution: fpa.AbstractConeDistribution, seed: int) -> dict[str, Any]:
        """For each of the two tables, a row per draw: the choice, the first and last loss, the score, the seconds."""
        key = fpa.role_key(seed, "train")
        kinds: dict[str, Callable] = {"recurrent": self._recurrent, "intermittent": self._intermittent}
        found = {}
        for kind, build in kinds.items():
            rng = np.random.default_rng(seed)
            rows = []
            for turn in range(self.draws):
                choice = paper.draw(vars(paper)[kind.upper()], rng, self.largest)
                batches = paper.BATCHES[kind][name]
                batch = int(batches[rng.integers(len(batches))])
                model, objective = build(family, distribution, choice, jax.random.fold_in(key, turn))
                rows.append(choice | {"batch size": batch} | self._train(model, objective, distribution, choice, batch))
            found[kind] = rows
        return found

    def _recurrent(self, family, distribution, choice, key):
        seen = self._calibrate(family, distribution, history=1)
        return paper.recurrent(seen, choice, on_u(distribution), key), paper.unrolled(self.num_steps)

    def _intermittent(self, family, distribution, choice, key):
        access = tuple(a for a in choice["access"] if a < self.num_steps)
        seen = self._calibrate(family, distribution, stages=paper.told(access))
        objective = paper.windows(access, choice["interval"], self.num_steps)
        return paper.intermittent(seen, choice | {"access": access}, key), objective

    def _calibrate(self, family, distribution, **shape):
        key = fpa.role_key(0, "train")
        return calibrate(fpa.SCS(), distribution, key, family.reference, num_instances=self.calibration, **shape)

    def _train(self, model, objective, distribution, choice, batch) -> dict[str, Any]:
        validation = Validation(fpa.role_key(0, "validation"), self.updates, num_steps=50)
        _, history = fit(
            fpa.Solver(fpa.SCS(), stack([model])),
            distribution,
            objective,
            fpa.role_key(0, "train"),
            num_updates=self.updates,
            batch_size=batch,
            optimizer=paper.optimizer(choice, self.updates),
            validation=validation,
        )
        losses = np.asarray(history.losses)[:, 0]
        return {
            "first loss": float(losses[0]),
            "last loss": float(losses[-5:].mean()),
            "score": float(history.scores[-1][0]),
            "seconds": round(history.seconds, 1),
        }


def plain_score(distribution: fpa.AbstractConeDistribution) -> float:
    """The score of plain SCS, on the instances that the draws are scored on."""
    parameters = fpa.sample_batch(distribution, fpa.role_key(0, "validation"), 64)
    residuals = jax.vmap(lambda p: fpa.Solver().trace(distribution.program(p), 50).fixed_point_normalized)(parameters)
    return float(jnp.log(residuals + 1e-12).mean())


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The draws as a table, the best first; what was chosen in one column each, as in the paper."""
    return pd.DataFrame(rows).sort_values("score", na_position="last").reset_index(drop=True)
