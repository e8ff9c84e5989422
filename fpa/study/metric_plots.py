"""Pictures of learned metrics: weight against activity, weights over two parameters, gains over sizes."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

BASELINES = {"identity": "than the identity", "tuned": "than the best scalars", "constant": "than one metric for all"}
_DOTS = 3000
_COLORS = {"active": "#882255", "inactive": "#88CCEE"}


def scatter(found: Mapping[str, np.ndarray], title: str) -> Figure:
    """The weight of an inequality's slack, over minus the slack, or over the multiplier where it is active."""
    weight, slack, multiplier = (found[key].ravel() for key in ("weight", "slack", "multiplier"))
    active = multiplier > slack
    shown = np.random.default_rng(0).permutation(weight.size)[:_DOTS]
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for (label, color), chosen in zip(_COLORS.items(), (active, ~active), strict=True):
        dots = shown[chosen[shown]]
        where = (multiplier - slack)[dots]
        axes.scatter(where, weight[dots], s=7, color=color, alpha=0.5, linewidths=0, label=label)
    axes.axvline(0, color="#555555", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("minus the slack of an inactive one (left of 0), multiplier of an active one (right)")
    axes.set_ylabel("learned weight of the slack")
    axes.legend(frameon=False, markerscale=2)
    counts = f"{len(shown):,} of {weight.size:,} inequalities of {len(found['weight'])} instances"
    figure.suptitle(f"{title} – {counts}", fontsize=10)
    return figure


def draw_planes(frame: pd.DataFrame, title: str) -> Figure:
    """A picture per constraint: its weight over two parameters, and a line around where it is active."""
    count = frame["constraint"].nunique()
    size = (2.6 * count + 0.9, 3.1)
    figure, grid = plt.subplots(1, count, figsize=size, sharey=True, squeeze=False, layout="constrained")
    norm = LogNorm(frame["weight"].min(), frame["weight"].max())
    for axes, (name, part) in zip(grid[0], frame.groupby("constraint"), strict=True):
        weight, active = (part.pivot(index="p2", columns="p1", values=value) for value in ("weight", "active"))
        p1, p2 = weight.columns.to_numpy(), weight.index.to_numpy()
        axes.pcolormesh(p1, p2, weight.to_numpy(), norm=norm, cmap="viridis", rasterized=True)
        if active.to_numpy().any() and not active.to_numpy().all():
            axes.contour(p1, p2, active.to_numpy().astype(float), levels=[0.5], colors="white", linewidths=1.4)
        axes.set_title(f"inequality {name}")
        axes.set_xlabel("first parameter")
        axes.set_aspect("equal")
        axes.grid(False)
    grid[0, 0].set_ylabel("second parameter")
    label = "weight (white line: edge of activity)"
    figure.colorbar(ScalarMappable(norm, "viridis"), ax=list(grid[0]), label=label, shrink=0.9)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_grid(table: pd.DataFrame, title: str) -> Figure:
    """Heat maps over n and inequalities per variable, with the gain over each of `BASELINES` in every cell."""
    import seaborn as sns  # slow to import, and not always asked for

    size = (3.9 * len(BASELINES) + 0.9, 3.3)
    figure, grid = plt.subplots(1, len(BASELINES), figsize=size, layout="constrained")
    gains = {word: table.pivot(index="n", columns="ratio", values=f"gain over {word}").iloc[::-1] for word in BASELINES}
    most = max(float(np.exp(np.abs(np.log(part.to_numpy())).max())) for part in gains.values())
    norm = LogNorm(1 / max(most, 3.0), max(most, 3.0))
    for axes, (word, name) in zip(grid, BASELINES.items(), strict=True):
        labels = gains[word].map(lambda gain: f"{gain:.2g}".replace("e+0", "e")).to_numpy()
        sns.heatmap(gains[word], ax=axes, annot=labels, fmt="", cmap="RdBu", norm=norm, cbar=False, linewidths=0.5)
        axes.set_xlabel("inequalities per variable")
        axes.set_ylabel("variables n")
        axes.set_title(f"times smaller error {name}")
    figure.colorbar(ScalarMappable(norm, "RdBu"), ax=list(grid), label="times smaller (red: larger)", shrink=0.9)
    figure.suptitle(title, fontsize=10)
    return figure
