"""Learning curves as a table and as a picture (Figure 9)."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fpa.study.learning_curves import PANELS

_COLORS = dict(zip(PANELS, ("#0072B2", "#E69F00", "#D55E00"), strict=True))
_AXES = {"updates": "updates", "instances": "instances seen", "seconds": "seconds of training"}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric means over datasets, with the smallest and the largest."""
    logs = table.assign(residual=np.log(table["residual"]))
    grouped = logs.groupby(["recipe", "panel", "updates", "instances"], sort=False)
    found = grouped.agg(residual=("residual", "mean"), low=("residual", "min"), high=("residual", "max"))
    return np.exp(found).assign(seconds=grouped["seconds"].mean()).reset_index()


def draw(table: pd.DataFrame, title: str) -> Figure:
    """A row per recipe, a column per axis: updates, instances seen, seconds."""
    recipes = list(dict.fromkeys(table["recipe"]))
    size = (3.4 * len(_AXES), 2.7 * len(recipes) + 0.5)
    figure, grid = plt.subplots(
        len(recipes), len(_AXES), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    plain = np.exp(np.log(table["SCS"]).groupby(table["panel"]).mean())
    for row, (recipe, part) in zip(grid, summary(table).groupby("recipe", sort=False), strict=True):
        for axes, (column, label) in zip(row, _AXES.items(), strict=True):
            for panel, line in part.groupby("panel", sort=False):
                color = _COLORS[str(panel)]
                axes.plot(line[column], line["residual"], color=color, marker=".", label=panel)
                axes.fill_between(line[column], line["low"], line["high"], color=color, alpha=0.15, linewidth=0)
                axes.axhline(plain[panel], color=color, linestyle=":", linewidth=1)
            axes.set(xscale="log", yscale="log", xlabel=label, title=recipe)
        row[0].set_ylabel(r"$\|u^+ - u\|_2\,/\,R_0$ at iteration 50")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure
