"""The study at a glance: how much learning gains, family by family and iteration by iteration."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from fpa.study.gains import gains
from fpa.study.variants import VARIANTS

ITERATIONS = (5, 10, 20, 50)

# What a gain is over, and in which metric: one block of columns each.
COMPARISONS = (
    ("over SCS", "fixed_point"),
    ("over SCS+AA", "fixed_point"),
    ("over SCS+AA-II", "fixed_point"),
    ("over SCS tuned", "primal"),
    ("over SCS tuned", "dual"),
)
_LARGE = {
    "02_recurrent_lasso": "Lasso, recurrent (Figure 1)",
    "03_intermittent_lasso": "Lasso, intermittent (Figure 2)",
    "02_recurrent_kalman": "Kalman filtering, recurrent (Figure 1)",
    "03_intermittent_kalman": "Kalman filtering, intermittent (Figure 2)",
}
_WORDS = {"fixed_point": "fixed-point residual", "primal": "primal residual", "dual": "dual residual"}
_FAR = 1000.0


def overview(frames: Mapping[str, pd.DataFrame], iterations: Sequence[int] = ITERATIONS) -> pd.DataFrame:
    """Gains by family from the data of each run; columns: comparison, metric, iteration.

    Rows are labelled by title, panel, and the numbers of instances and models. A gain is how many times smaller the
    geometric mean is over instances and models than that of the other method. Figures of other things are left out.
    """
    rows = {}
    shown = [run for run in frames if run in _LARGE or run.partition("_")[2] in VARIANTS]
    for run, frame in ((run, frames[run]) for run in shown):
        large = run in _LARGE
        panels = frame[frame["panel"] == "50 iterations"] if large else frame
        title = _LARGE[run] if large else VARIANTS[run.split("_", 1)[1]].title
        for panel, part in gains(panels, iterations).groupby("panel", sort=False):
            at = part.set_index(["metric", "iteration"])
            counts = panels.loc[panels["panel"] == panel, ["num_instances", "num_models"]].max()
            rows[title, "" if large else str(panel), *map(int, counts)] = {
                (over, metric, k): at.loc[(metric, k), over] for over, metric in COMPARISONS for k in iterations
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.columns = pd.MultiIndex.from_tuples(table.columns, names=["gain", "metric", "iteration"])
    return table.rename_axis(["family", "panel", "instances", "models"])


def draw(table: pd.DataFrame) -> Figure:
    """A heat map per comparison, blue where learning gains and red where it loses, with the gain in every cell."""
    names = [f"{': '.join(filter(None, words))} ({n} × {models})" for *words, n, models in table.index]
    size = (3.2 + 2.3 * len(COMPARISONS), 1.7 + 0.34 * len(names))
    figure, grid = plt.subplots(1, len(COMPARISONS), figsize=size, sharey=True, layout="constrained")
    scale = TwoSlopeNorm(0, -np.log10(_FAR), np.log10(_FAR))
    for axes, (over, metric) in zip(grid, COMPARISONS, strict=True):
        part = table[over][metric]
        sns.heatmap(
            np.log10(part.clip(1 / _FAR, _FAR)),
            ax=axes,
            annot=part.map(_short).to_numpy(),
            fmt="",
            annot_kws={"fontsize": 7.5},
            cmap="RdBu",
            norm=scale,
            cbar=False,
            linewidths=0.5,
            yticklabels=names,
        )
        axes.set_title(f"{over},\n{_WORDS[metric]}")
        axes.set_xlabel("iteration")
        axes.set_ylabel("")
        axes.tick_params(length=0)
    figure.suptitle(
        "Residual without learning over residual with it (geometric means over test instances × models, in brackets)\n"
        "red: learning loses",
        fontsize=10,
    )
    return figure


def _short(gain: float) -> str:
    return f"{gain:.2g}" if gain < 99.5 else f"{gain:,.0f}" if gain < 1e5 else f"{gain:.0e}"
