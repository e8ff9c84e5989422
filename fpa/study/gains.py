"""How much a model gains over what is not learned, over several datasets of a family."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

import fpa
from fpa.study.plotting import comparable


def evaluate(
    distributions: Sequence[fpa.AbstractConeDistribution],
    solvers: Sequence[Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_instances: int,
    num_steps: int,
    description: str,
) -> fpa.Curves:
    """`fpa.evaluate_models` of the solvers of each dataset on its distribution; all of them are the first axis."""
    parts = [
        fpa.evaluate_models(several, distribution, key, num_instances, num_steps, chunk=128, description=description)
        for several, distribution in zip(solvers, distributions, strict=True)
    ]
    values = {metric: np.concatenate([part.values[metric] for part in parts]) for metric in parts[0].values}
    return fpa.Curves(values, np.concatenate([part.valid for part in parts]))


def gains(frame: pd.DataFrame, iterations: Sequence[int] = (5, 10, 20, 50)) -> pd.DataFrame:
    """How many times smaller the geometric mean of the learned method is than that of SCS, SCS+AA and SCS tuned.

    A row per panel, metric and iteration; no comparison of fixed-point residuals with SCS tuned, which iterates
    another map.
    """
    at = frame.set_index(["panel", "metric", "iteration", "method"])["geomean"]
    (learned,) = [name for name in ("SCS+Neural", "SCS+Neural-MLP") if name in set(frame["method"])]
    rows = []
    for panel in frame["panel"].unique():
        for metric in ("fixed_point", "fixed_point_normalized", "primal", "dual", "gap"):
            for k in iterations:
                ours = at[panel, metric, k, learned]
                row = {"panel": panel, "metric": metric, "iteration": k}
                for other in ("SCS", "SCS+AA", "SCS tuned"):
                    row[f"over {other}"] = at[panel, metric, k, other] / ours if comparable(metric, other) else np.nan
                rows.append(row)
    return pd.DataFrame(rows)
