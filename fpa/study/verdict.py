"""Whether learning pays, in one table: residuals after as many iterations, and after as much time."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fpa.study.files import data_of

FAMILIES = {"Lasso": "03_intermittent_lasso", "Kalman filtering": "03_intermittent_kalman"}
NEEDED = tuple(file for run in FAMILIES.values() for file in (data_of(run), f"tables/{run}_cost.csv"))
MODEL = "SCS+Neural-MLP"
_STEPS = 50  # of which the tables of costs tell the time


def verdict(folder: Path) -> pd.DataFrame:
    """Mean residuals by method, the largest of primal, dual and gap, with the same number of iterations or time.

    `folder` holds a profile's products. The time is what the model takes for 50 iterations, in batches of each size.
    """
    rows = []
    for family, run in FAMILIES.items():
        curves = _worst(pd.read_csv(folder / data_of(run)))
        costs = pd.read_csv(folder / "tables" / f"{run}_cost.csv")
        methods = list(costs["method"].unique())
        rows.append({"family": family, "given": f"{_STEPS} iterations"} | _read(curves, dict.fromkeys(methods, _STEPS)))
        for size, part in costs.groupby("batch"):
            measured = part.set_index("method")
            given = f"{measured.loc[MODEL, 'ms per instance']:.2g} ms, {_batch(int(str(size)))}"
            rows.append({"family": family, "given": given} | _read(curves, _steps(measured, len(curves))))
    return pd.DataFrame(rows)


def _worst(frame: pd.DataFrame) -> pd.DataFrame:
    """The largest of the means of primal, dual and gap: a row per iteration, a column per method; the longest panel."""
    panel = frame.loc[frame["iteration"].idxmax(), "panel"]
    shown = frame[(frame["panel"] == panel) & frame["metric"].isin(("primal", "dual", "gap"))]
    return shown.groupby(["iteration", "method"])["mean"].max().unstack()


def _steps(measured: pd.DataFrame, most: int) -> dict[str, int]:
    """How many iterations each method makes in the time of the model's, but no more than `most`."""
    left = (measured.loc[MODEL, "ms per instance"] - measured["setup"]) / measured["iteration"]
    return left.clip(1, most).round().astype(int).to_dict() | {MODEL: _STEPS}


def _read(curves: pd.DataFrame, steps: Mapping[str, int]) -> dict[str, float]:
    return {method: float(curves.loc[step, method]) for method, step in steps.items()}


def _batch(size: int) -> str:
    return "one at a time" if size == 1 else f"in a batch of {size}"
