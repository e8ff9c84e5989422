"""Will learning help on a family? Answered by features that need no training, and by the families of the study.

`benefit` computes the features of a new family and predicts its gain from those of the study's families; how well that
works on families it has not seen is measured by leaving each of them out, of the choice of the predictor too.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

import fpa
from fpa.study.errors import StudyError
from fpa.study.families import FAMILIES
from fpa.study.features import WORDS, features
from fpa.study.files import find_root
from fpa.study.gains import gains
from fpa.study.predictors import OTHERS, PREDICTORS, NearestFamilies, choose, fitted, left_out, line, spearman
from fpa.study.variants import VARIANTS

TABLE = "08_when_does_it_help"
GAIN, FIXED = "gain", "fixed A"
_REACHED = (10, 20, 50)
_RESAMPLED = 2000
_AGREEMENT = ["families", "predictor", "number", "spearman", "factor"]


@dataclass(frozen=True)
class Trained:
    """A family of the study: its name, a distribution (the first dataset's), and the log10 of the gain of training."""

    name: str
    distribution: fpa.AbstractConeDistribution
    gain: float


def trained(frames: Mapping[str, pd.DataFrame], seed: int) -> list[Trained]:
    """The families behind the data of some runs, by run, in the order of runs and panels."""
    found = []
    for run, frame in frames.items():
        problem = run.rsplit("_", 1)[-1]
        if problem in FAMILIES:
            family = FAMILIES[problem]
            found.append(Trained(family.title, family.make(), reached(frame[frame["panel"] == "50 iterations"])))
            continue
        variant = VARIANTS[run.split("_", 1)[1]]
        for panel, distributions in variant.distributions(seed, 1).items():
            gain = reached(frame[frame["panel"] == panel])
            found.append(Trained(f"{variant.title.split(' (')[0]}: {panel}", distributions[0], gain))
    return found


def reached(frame: pd.DataFrame) -> float:
    """What training gained over SCS in one panel, log10: fixed-point residual, geometric mean over 10, 20 and 50."""
    table = gains(frame, _REACHED)
    return float(np.log10(table.loc[table["metric"] == "fixed_point", "over SCS"]).mean())


def tabulate(families: Sequence[Trained], found: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """A row per family: its name, whether A is fixed, the gain, and the features `found`, by name."""
    rows = [
        {"family": f.name, FIXED: f.distribution.canonical.A.positions.size == 0, GAIN: f.gain} | dict(found[f.name])
        for f in families
    ]
    return pd.DataFrame(rows)


def correlations(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Spearman's rank correlation of each feature with the gain, with a 90 % interval from resampled families."""
    draws = np.random.default_rng(seed).integers(len(table), size=(_RESAMPLED, len(table)))
    gain = table[GAIN].to_numpy()
    rows = []
    for name in WORDS:
        feature = table[name].to_numpy()
        resampled = spearman(feature[draws], gain[draws])
        low, high = np.nanquantile(resampled, [0.05, 0.95]) if not np.isnan(resampled).all() else (np.nan, np.nan)
        rows.append((name, WORDS[name], float(spearman(feature, gain)), low, high))
    return pd.DataFrame(rows, columns=["feature", "meaning", "spearman", "5 %", "95 %"])


def leave_one_out(table: pd.DataFrame) -> pd.DataFrame:
    """For each family, the gain `predicted` from all others, which also choose the `predictor`; beside it every one's.

    Takes four families at least.
    """
    known, gain = _arrays(table)
    rows = []
    for index in range(len(table)):
        others = np.arange(len(table)) != index
        name = choose(known[others], gain[others])
        rows.append((name, float(np.ravel(fitted(name, known[others], gain[others]).predict(known[[index]]))[0])))
    chosen = pd.DataFrame(rows, columns=["predictor", "predicted"], index=table.index)
    each = {name: left_out(name, known, gain) for name in PREDICTORS}
    return pd.concat([table["family"], chosen], axis=1).assign(**each, **{GAIN: gain})


def agreement(groups: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How well gains are predicted that were left out, for groups of `leave_one_out`'s rows, by every predictor.

    `spearman` is the rank correlation with the gains reached, `factor` by how much a prediction is off, on geometric
    average.
    """
    rows = []
    for group, predictions in groups.items():
        for name in ("predicted", *PREDICTORS):
            what = "chosen by the others" if name == "predicted" else name
            rows.append((group, what, *_agreement(predictions[name], predictions[GAIN])))
    return pd.DataFrame(rows, columns=_AGREEMENT)


def tried(groups: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """As `agreement`, for groups of `tabulate`'s rows, by the other regressions that were tried."""
    rows = []
    for group, table in groups.items():
        known, gain = _arrays(table)
        rows += [(group, name, *_agreement(left_out(name, known, gain), gain)) for name in OTHERS]
    return pd.DataFrame(rows, columns=_AGREEMENT)


def _agreement(predicted: ArrayLike, gain: ArrayLike) -> tuple[int, float, float]:
    """The number of families, the rank correlation and the average factor."""
    apart = np.abs(np.asarray(predicted) - np.asarray(gain))
    return len(apart), round(float(spearman(predicted, gain)), 3) + 0.0, round(float(10 ** apart.mean()), 3)


def _arrays(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The features (families, features) and the gains (families,)."""
    return table[list(WORDS)].to_numpy(), table[GAIN].to_numpy()


@dataclass(frozen=True)
class Benefit:
    """The answer of `benefit`: the expected gain, and the range that two of three families fall into.

    `predictor` is what it was predicted by, `similar` the families of the study with the most similar features, and
    `left_out` (families,) what it predicts for each of them by all others, log10.
    """

    features: dict[str, float]
    gain: float
    low: float
    high: float
    predictor: str
    similar: tuple[str, ...]
    left_out: np.ndarray
    table: pd.DataFrame

    def __str__(self) -> str:
        told = f"expect {self.gain:.3g} times smaller residuals than SCS ({self.low:.3g} to {self.high:.3g})"
        return f"{told}, by {self.predictor}; most similar: {'; '.join(self.similar)}"

    def draw(self) -> Figure:
        """The families of the study, as predicted and as reached, and where this one is expected."""
        figure, (axes, names) = plt.subplots(1, 2, figsize=(7.5, 3.8), layout="constrained", width_ratios=(1.6, 1))
        _draw_predicted(axes, self.table, self.left_out)
        range_ = [[self.gain - self.low], [self.high - self.gain]]
        axes.errorbar(self.gain, self.gain, range_, fmt="D", color="#D55E00", capsize=4, label="this family")
        _list_families(names, self.table)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(
            f"Expected gain {self.gain:.3g}, in two of three cases {self.low:.3g} to {self.high:.3g}, "
            f"by {self.predictor} among {len(self.table)}",
            fontsize=9,
        )
        return figure


def benefit(
    distribution: fpa.AbstractConeDistribution,
    key: PRNGKeyArray,
    num_instances: int = 200,
    table: pd.DataFrame | None = None,
) -> Benefit:
    """Will learning help on this family? Solves `num_instances` + 50 instances; takes less than a minute.

    The evidence is `table`, made by `tabulate`; by default the committed one of the notebook `08_when_does_it_help`.
    Raises StudyError where that is missing.
    The gain is over plain SCS with its default scalars, over which tuning may gain as well: see `fpa.tune`.
    """
    evidence = _committed() if table is None else table
    found, (known, gain) = features(distribution, key, num_instances), _arrays(evidence)
    here = np.array([[found[name] for name in WORDS]])
    predictor = choose(known, gain)
    others = left_out(predictor, known, gain)
    middle = float(np.ravel(fitted(predictor, known, gain).predict(here))[0])
    low, high = middle + np.quantile(gain - others, [1 / 6, 5 / 6])
    nearest = NearestFamilies().fit(known, gain).nearest(here)[0]
    similar = tuple(evidence["family"].iloc[nearest])
    return Benefit(found, 10**middle, 10**low, 10**high, predictor, similar, others, evidence)


def _committed() -> pd.DataFrame:
    file = find_root() / "figures" / "laptop" / "tables" / f"{TABLE}.csv"
    if not file.is_file():
        raise StudyError(f"benefit needs {file}, which the run {TABLE} has not made yet.")
    return pd.read_csv(file)


def draw(table: pd.DataFrame, predictions: pd.DataFrame, num_instances: int) -> Figure:
    """Every feature against the gain, with its rank correlation, and the gains predicted for families left out."""
    columns = 4
    rows = -(-(len(WORDS) + 2) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(12, 2.9 * rows + 0.6), sharey=True, layout="constrained")
    for name, axes in zip(WORDS, grid.flat, strict=False):
        _draw_feature(axes, table, name)
        axes.set_title(f"Spearman {spearman(table[name], table[GAIN]):+.2f}")
    last, names, *unused = grid.flat[len(WORDS) :]
    _draw_predicted(last, table, predictions["predicted"].to_numpy())
    last.set_title(f"left out: Spearman {spearman(predictions['predicted'], predictions[GAIN]):+.2f}")
    for axes in grid[:, 1:].flat:
        axes.set_ylabel("")
    for axes in unused:
        axes.set_axis_off()
    _list_families(names, table)
    handles, labels = last.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        f"What training gained over SCS on {len(table)} families, against what needs no training "
        f"({num_instances} instances of each)",
        fontsize=10,
    )
    return figure


def _draw_feature(axes: Axes, table: pd.DataFrame, feature: str) -> None:
    """One feature against the gain, and a robust line."""
    _points(axes, table, table[feature].to_numpy())
    ends = np.array([table[feature].min(), table[feature].max()])
    intercept, slope = line(table[feature].to_numpy(), table[GAIN].to_numpy())
    axes.plot(ends, 10 ** (intercept + slope * ends), color="0.6", linewidth=1, zorder=1)
    axes.set_xlabel(textwrap.fill(WORDS[feature], 38), fontsize=8)


def _draw_predicted(axes: Axes, table: pd.DataFrame, predicted: np.ndarray) -> None:
    """Predicted against reached gains; on the line they agree."""
    _points(axes, table, 10**predicted)
    ends = 10 ** np.array([table[GAIN].min(), table[GAIN].max()])
    axes.plot(ends, ends, color="0.6", linewidth=1, zorder=1)
    axes.set_xscale("log")
    _few_numbers(axes.xaxis)
    axes.set_xlabel("gain predicted from the other families", fontsize=8)


def _points(axes: Axes, table: pd.DataFrame, values: np.ndarray) -> None:
    """A numbered point per family, filled where A is fixed."""
    numbers = np.arange(1, len(table) + 1)
    for fixed, face, ink in ((True, "C0", "white"), (False, "white", "C0")):
        which = (table[FIXED] == fixed).to_numpy()
        reached = 10 ** table.loc[which, GAIN]
        label = "A fixed" if fixed else "A varies"
        axes.scatter(values[which], reached, s=75, c=face, edgecolors="C0", label=label, zorder=2)
        for x, y, number in zip(values[which], reached, numbers[which], strict=True):
            axes.annotate(f"{number}", (x, y), ha="center", va="center_baseline", fontsize=6, color=ink, zorder=3)
    axes.set_yscale("log")
    _few_numbers(axes.yaxis)
    axes.set_ylabel("gain over SCS")


def _list_families(axes: Axes, table: pd.DataFrame) -> None:
    """The names behind the numbers."""
    axes.set_axis_off()
    names = "\n".join(f"{number}  {name}" for number, name in enumerate(table["family"], start=1))
    axes.text(0, 1, names, transform=axes.transAxes, va="top", fontsize=7, linespacing=1.4)


def _few_numbers(axis: Axis) -> None:
    """1 and 3 times powers of ten along a logarithmic axis, written out."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
