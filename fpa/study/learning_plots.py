"""Learning curves as a table and as a picture (Figure 9)."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpa.study.learning_curves import PANELS

_COLORS = dict(zip(PANELS, ("#0072B2", "#E69F00", "#D55E00"), strict=True))
_GREY = "#555555"
_LINES: dict[str, Any] = {"windows": "-", "staged": "--"}
_AXES = {"updates": "updates", "instances": "training instances", "seconds": "seconds of training"}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Geometric means over datasets, with the smallest and the largest; seconds of the dataset that took fewest.

    Programs are compiled for the first dataset and serve the others, so compilation does not count.
    """
    logs = table.assign(residual=np.log(table["residual"]))
    grouped = logs.groupby(["recipe", "panel", "updates", "instances"], sort=False)
    found = grouped.agg(residual=("residual", "mean"), low=("residual", "min"), high=("residual", "max"))
    return np.exp(found).assign(seconds=grouped["seconds"].min()).reset_index()


def draw(table: pd.DataFrame, num_steps: int, title: str) -> Figure:
    """The residual after `num_steps` iterations over updates, instances seen and seconds, a panel each."""
    figure, grid = plt.subplots(1, len(_AXES), figsize=(3.4 * len(_AXES), 3.5), sharey=True, layout="constrained")
    plain = np.exp(np.log(table["SCS"]).groupby(table["panel"], sort=False).mean())
    for axes, (column, label) in zip(grid, _AXES.items(), strict=True):
        for (recipe, panel), line in summary(table).groupby(["recipe", "panel"], sort=False):
            color = _COLORS[str(panel)]
            axes.plot(line[column], line["residual"], linestyle=_LINES[str(recipe)], color=color, marker=".")
            axes.fill_between(line[column], line["low"], line["high"], color=color, alpha=0.15, linewidth=0)
        for panel, level in plain.items():
            axes.axhline(level, color=_COLORS[str(panel)], linestyle=":", linewidth=1)
        axes.set(xscale="log", yscale="log", xlabel=label)
    grid[0].set_ylabel(rf"$\|u^+ - u\|_2\,/\,R_0$ at iteration {num_steps}")
    figure.legend(handles=_handles(table), loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _handles(table: pd.DataFrame) -> list[Line2D]:
    """What colours and lines mean: families, ways of training, plain SCS."""
    families = [Line2D([], [], color=_COLORS[panel], label=panel) for panel in dict.fromkeys(table["panel"])]
    ways = [Line2D([], [], color=_GREY, label=way, linestyle=_LINES[way]) for way in dict.fromkeys(table["recipe"])]
    return [*families, *ways, Line2D([], [], linestyle=":", label="SCS", color=_GREY)]
