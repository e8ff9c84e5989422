"""How much a model gains over what is not learned, over several datasets of a family."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

import fpa
from fpa.evaluation import join
from fpa.study.panels import Curves
from fpa.study.plotting import comparable

OTHERS = ("SCS", "SCS+AA", "SCS+AA-II", "SCS tuned")
_METRICS = ("fixed_point", "fixed_point_normalized", "primal", "dual", "gap")

_CHUNK = 128  # small instances: more at once


def evaluate(
    distributions: Sequence[fpa.AbstractConeDistribution],
    solvers: Sequence[Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_instances: int,
    num_steps: int,
    description: str,
) -> fpa.Curves:
    """`fpa.evaluate_models` of the solvers of each dataset on its distribution; all of them are the first axis."""
    chunk = min(_CHUNK, num_instances)
    return join(
        [
            fpa.evaluate_models(several, distribution, key, num_instances, num_steps, chunk, description)
            for several, distribution in zip(solvers, distributions, strict=True)
        ]
    )


def gains(frame: pd.DataFrame, iterations: Sequence[int] = (5, 10, 20, 50)) -> pd.DataFrame:
    """How many times smaller the geometric mean of the learned method is than that of each of `OTHERS`.

    A row per panel, metric and iteration; no comparison of fixed-point residuals with SCS tuned, which iterates
    another map.
    """
    at = frame.set_index(["panel", "metric", "iteration", "method"])["geomean"]
    learned = _learned(frame)
    rows = []
    for panel in frame["panel"].unique():
        for metric in _METRICS:
            for k in iterations:
                ours = at[panel, metric, k, learned]
                row = {"panel": panel, "metric": metric, "iteration": k}
                for other in OTHERS:
                    row[f"over {other}"] = at[panel, metric, k, other] / ours if comparable(metric, other) else np.nan
                rows.append(row)
    return pd.DataFrame(rows)


def averages(frame: pd.DataFrame, last: int = 50) -> pd.DataFrame:
    """The gain over SCS over all iterations up to `last`: its geometric mean and the least, by panel and metric.

    Other metrics than the raw fixed-point residual count from iteration `first`, where every instance has a point.
    """
    rows = []
    for panel in frame["panel"].unique():
        curves = Curves("", str(panel), frame[frame["panel"] == panel])
        for metric in _METRICS:
            found = curves.gains(_learned(frame), metric, last=last)
            row = {"panel": panel, "metric": metric, "first": found.index[0]}
            rows.append(row | {"average": float(np.exp(np.log(found).mean())), "least": float(found.min())})
    return pd.DataFrame(rows)


def _learned(frame: pd.DataFrame) -> str:
    (name,) = [name for name in ("SCS+Neural", "SCS+Neural-MLP") if name in set(frame["method"])]
    return name
