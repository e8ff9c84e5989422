"""Figures of convergence, in one style: the same method has the same colour, dash and place everywhere.

Data travel as tidy frames with the columns `COLUMNS`, one row per method, metric and iteration; pictures are drawn
from such a frame and from nothing else, so that the CSV beside a picture is what the picture shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpa.study.errors import StudyError
from fpa.study.methods import COMPARABLE, METHODS, METRICS, Method, Metric
from fpa.study.methods import chosen as chosen

_STATISTICS = ["mean", "std", "geomean", "median", "q10", "q90", "num_valid", "num_instances", "num_models"]
COLUMNS = ["figure", "panel", "method", "metric", "iteration", *_STATISTICS]


@dataclass(frozen=True)
class Band:
    """A line with a band around it: its names, the line's column, the band's edges."""

    name: str
    title: str
    center: str
    lower: Callable[[pd.DataFrame], pd.Series]
    upper: Callable[[pd.DataFrame], pd.Series]


def _below(frame: pd.DataFrame) -> pd.Series:
    """Mean minus standard deviation, but at most a decade below the mean, as no log axis shows zero."""
    return (frame["mean"] - frame["std"]).clip(lower=frame["mean"] / 10)


BANDS = {
    band.name: band
    for band in (
        Band(
            "std",
            r"mean $\pm$ standard deviation (cut at a tenth of the mean)",
            "mean",
            _below,
            lambda frame: frame["mean"] + frame["std"],
        ),
        Band(
            "deciles", "median, 10 % to 90 % quantile", "median", lambda frame: frame["q10"], lambda frame: frame["q90"]
        ),
    )
}


# All quantities are relative; what exceeds 20 times the residual of the zero point is off the chart.
_TOP = 20.0
_NARROWEST = 6.4  # inches, for the legend
_CHARACTERS = 13  # of a heading, in an inch
_NAME_WIDTH = 2.5  # inches for a method's name in a legend of more than one row


def style(quick: bool = False) -> None:
    """Set the study's look for every figure that follows; `quick` ones have few pixels and fonts as they come."""
    plt.style.use(["default", "seaborn-v0_8-ticks", _LOOK, _QUICK if quick else {}])


_LOOK = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.labelsize": 8.5,
    "axes.linewidth": 1.0,
    "axes.titlesize": 9.5,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 9.6,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8.8,
    "lines.linewidth": 1.6,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "savefig.dpi": 160,
    "xtick.labelsize": 8.5,
    "xtick.major.pad": 3.5,
    "xtick.major.size": 4.8,
    "ytick.labelsize": 8.5,
    "ytick.major.pad": 3.5,
    "ytick.major.size": 4.8,
    "ytick.minor.size": 2,
    "ytick.minor.width": 0.5,
}
_QUICK = {"pdf.fonttype": 3, "savefig.dpi": 60}


def method(name: str) -> Method:
    """The method called `name`."""
    return _look_up(name, METHODS, "method")


def metric(name: str) -> Metric:
    """The metric called `name`."""
    return _look_up(name, METRICS, "metric")


def comparable(metric_name: str, method_name: str) -> bool:
    """Whether a method's values of a metric may stand beside the other methods'."""
    return method(method_name).map in COMPARABLE[metric(metric_name).name]


def curves_frame(figure: str, panel: str, method_name: str, curves: Any) -> pd.DataFrame:
    """The tidy frame of one method's `Curves` for one panel of one figure."""
    place = {"figure": figure, "panel": panel, "method": method(method_name).name}
    return pd.DataFrame([place | record for record in curves.records()])[COLUMNS]


def frames(figure: str, panel: str, curves: Mapping[str, Any]) -> pd.DataFrame:
    """The tidy frame of several methods' `Curves` for one panel of one figure."""
    return pd.concat([curves_frame(figure, panel, name, curve) for name, curve in curves.items()], ignore_index=True)


def panels_frame(figure: str, curves: Mapping[str, Any], ends: Sequence[int]) -> pd.DataFrame:
    """The tidy frame of several methods' `Curves`, with a panel for the iterations up to each of `ends`."""
    whole = pd.concat([curves_frame(figure, "", name, curve) for name, curve in curves.items()])
    panels = {end: whole[whole["iteration"] <= end].assign(panel=f"{end} iterations") for end in ends}
    return pd.concat(panels.values(), ignore_index=True)


def check_schema(frame: pd.DataFrame) -> None:
    """Refuse a frame that a figure's CSV may not hold."""
    if list(frame.columns) != COLUMNS:
        raise StudyError(f"A figure's data have the columns {COLUMNS}, not {list(frame.columns)}.")
    for name in frame["method"].unique():
        method(name)
    for name in frame["metric"].unique():
        metric(name)


def convergence(
    frame: pd.DataFrame,
    metrics: Sequence[str] = ("fixed_point", "primal", "dual"),
    band: str = "std",
    title: str | None = None,
    horizon: int | None = None,
) -> Figure:
    """Residuals over iterations on a log scale: one row per panel of `frame`, one column per metric.

    The line is the mean and the band one standard deviation to either side, or median and deciles with
    `band="deciles"`. A band's lower edge is drawn at most a decade below its line. Iterations at which no instance
    has a point yet are left out of a point's residuals, and so are methods on another map where `COMPARABLE` says that
    their values mean something else.
    """
    check_schema(frame)
    chosen = _look_up(band, BANDS, "band")
    panels = list(frame["panel"].unique())
    width = max(3.4 * len(metrics), _NARROWEST)
    rows = -(-frame["method"].nunique() // _columns(width, frame["method"].nunique()))
    heading = _heading(title, chosen, _counts(frame), round(_CHARACTERS * width))
    size = (width, 2.6 * len(panels) + 0.3 + 0.2 * (rows + len(heading)))
    figure, grid = plt.subplots(len(panels), len(metrics), figsize=size, squeeze=False, layout="constrained")
    for row, panel in zip(grid, panels, strict=True):
        for axes, name in zip(row, metrics, strict=True):
            part = frame[(frame["panel"] == panel) & (frame["metric"] == name)]
            _draw(axes, part, metric(name), chosen)
            axes.set_title(metric(name).title if len(panels) == 1 else f"{metric(name).title}, {panel}")
            if horizon is not None:
                axes.axvline(horizon, color="#555555", linestyle=":", linewidth=0.9)
    add_legend(figure)
    figure.suptitle("\n".join(heading), fontsize=10)
    return figure


def race(scores: pd.DataFrame, names: dict[int, str], title: str) -> Figure:
    """Score over updates, a line per number of `factors`; the band holds all models."""
    figure, axes = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
    for color, (factors, name) in zip(("#555555", "#D55E00"), names.items(), strict=True):
        line = scores[scores["factors"] == factors]
        axes.plot(line["updates"], line["score"], color=color, label=name)
        axes.fill_between(line["updates"], line["lowest"], line["highest"], color=color, alpha=0.15, linewidth=0)
    axes.set_xlabel("updates")
    axes.set_ylabel("mean log residual on validation instances")
    axes.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw(axes: Axes, part: pd.DataFrame, quantity: Metric, band: Band) -> None:
    drawn = part[[comparable(quantity.name, name) for name in part["method"]]]
    if drawn.empty:
        raise StudyError(f"The frame holds nothing to draw for the metric {quantity.name!r}.")
    axes.set_yscale("log", nonpositive="mask")
    axes.set_xlabel("iteration (applications of the map)")
    axes.set_ylabel(quantity.definition)
    for name, curve in sorted(drawn.groupby("method"), key=lambda item: list(METHODS).index(item[0])):
        look = method(str(name))
        shown = curve[(curve["num_valid"] > 0) | (not quantity.of_point)]
        axes.plot(shown["iteration"], shown[band.center], label=look.name, color=look.color, linestyle=look.line)
        edges = band.lower(shown), band.upper(shown)
        axes.fill_between(shown["iteration"], *edges, color=look.color, alpha=0.15, linewidth=0)
    axes.set_xlim(drawn["iteration"].min(), drawn["iteration"].max())
    limit_height(axes)


def limit_height(axes: Axes) -> None:
    """Leave out of a log axis what is off the chart, and the margin that autoscaling added for it below."""
    axes.set_ylim(axes.dataLim.minposy / 2, min(2 * axes.dataLim.ymax, _TOP))


def _heading(title: str | None, band: Band, counts: str, most: int) -> list[str]:
    """Title, band and counts in as few lines of at most so many characters as will hold them."""
    about = [f"{band.title} over {counts}"]
    if len(about[0]) > most:
        about = [band.title, f"over {counts}"]
    if title is None:
        return about
    whole = f"{title} – {about[0]}"
    return [whole] if len(about) == 1 and len(whole) <= most else [title, *about]


def add_legend(figure: Figure) -> None:
    """One legend below all panels of a figure: every method drawn in any of them, in the study's order."""
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    names = [name for name in METHODS if name in handles]
    columns = _columns(figure.get_figwidth(), len(names))
    figure.legend([handles[name] for name in names], names, loc="outside lower center", ncols=columns, frameon=False)


def _columns(width: float, names: int) -> int:
    """How many names stand side by side in a legend; a few stand in one row."""
    return names if names < 7 else round(width / _NAME_WIDTH)


def _counts(frame: pd.DataFrame) -> str:
    instances = _range(frame["num_instances"])
    noun = "instance" if instances == "1" else "instances"
    models = int(frame["num_models"].max())
    several = "" if models <= 1 else f", up to {models} models per method"
    return f"{instances} {noun}{several}"


def _range(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _look_up(name: str, table: dict[str, Any], what: str) -> Any:
    if name not in table:
        raise StudyError(f"There is no {what} {name!r}; there are: {', '.join(table)}.")
    return table[name]
