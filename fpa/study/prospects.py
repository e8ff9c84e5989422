"""Will learning help on a family? Answered by features that need no training, and by the families of the study.

`benefit` computes the features of a new family and reads a gain off the one feature that orders the study's families
best; how well that works on families it has not seen is measured by leaving each of them out.
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
from scipy.stats import rankdata, theilslopes
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fpa
from fpa.study.errors import StudyError
from fpa.study.families import FAMILIES
from fpa.study.features import WORDS, features
from fpa.study.files import find_root
from fpa.study.gains import gains
from fpa.study.variants import VARIANTS

TABLE = "08_when_does_it_help"
GAIN, FIXED = "gain", "fixed A"
_REACHED = (10, 20, 50)
_RESAMPLED = 2000


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
        resampled = _spearman(feature[draws], gain[draws])
        low, high = np.nanquantile(resampled, [0.05, 0.95]) if not np.isnan(resampled).all() else (np.nan, np.nan)
        rows.append((name, WORDS[name], float(_spearman(feature, gain)), low, high))
    return pd.DataFrame(rows, columns=["feature", "meaning", "spearman", "5 %", "95 %"])


def best(table: pd.DataFrame) -> str:
    """The feature whose ranks agree best with those of the gain, in either direction."""
    agreement = {name: abs(float(_spearman(table[name], table[GAIN]))) for name in WORDS}
    return max(agreement, key=lambda name: np.nan_to_num(agreement[name]))


def predict(table: pd.DataFrame, feature: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The gain at `values` of a feature: a robust line (Theil-Sen) through the families of `table`."""
    line = theilslopes(table[GAIN], table[feature])
    return line.intercept + line.slope * np.asarray(values)


def leave_one_out(table: pd.DataFrame) -> pd.DataFrame:
    """For each family, the gain that is predicted from all others, which also choose the feature."""
    rows = []
    for index in range(len(table)):
        others, left = table.drop(table.index[index]), table.iloc[index]
        feature = best(others)
        rows.append((left["family"], feature, float(predict(others, feature, [left[feature]])[0]), left[GAIN]))
    return pd.DataFrame(rows, columns=["family", "feature", "predicted", GAIN])


def all_at_once(table: pd.DataFrame) -> pd.DataFrame:
    """For each family, the gain that a ridge regression on all features predicts, fitted to the other families."""
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11)))
    found = cross_val_predict(model, table[list(WORDS)], table[GAIN], cv=LeaveOneOut())
    return pd.DataFrame({"family": table["family"], "predicted": found, GAIN: table[GAIN]})


def agreement(predictions: pd.DataFrame) -> float:
    """Spearman's correlation between predicted and reached gains, to three digits."""
    return round(float(_spearman(predictions["predicted"], predictions[GAIN])), 3) + 0.0


@dataclass(frozen=True)
class Benefit:
    """The answer of `benefit`: the features, the expected gain, and the range that two of three families fall into."""

    features: dict[str, float]
    feature: str
    gain: float
    low: float
    high: float
    table: pd.DataFrame

    def __str__(self) -> str:
        told = f"expect {self.gain:.3g} times smaller residuals than SCS ({self.low:.3g} to {self.high:.3g})"
        return f"{told}, judging by one feature: {WORDS[self.feature]}, here {self.features[self.feature]:.3g}"

    def draw(self) -> Figure:
        """The families of the study, and where this one falls."""
        figure, axes = plt.subplots(figsize=(5.0, 3.4), layout="constrained")
        draw_feature(axes, self.table, self.feature)
        here, range_ = self.features[self.feature], [[self.gain - self.low], [self.high - self.gain]]
        axes.errorbar(here, self.gain, range_, fmt="D", color="#D55E00", capsize=4, label="this family")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(
            f"Expected gain {self.gain:.3g}, in two of three cases {self.low:.3g} to {self.high:.3g}, "
            f"judging by {len(self.table)} families",
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
    table = _committed() if table is None else table
    found, feature = features(distribution, key, num_instances), best(table)
    middle = float(predict(table, feature, [found[feature]])[0])
    errors = leave_one_out(table).eval(f"{GAIN} - predicted")
    low, high = middle + errors.quantile([1 / 6, 5 / 6])
    return Benefit(found, feature, 10**middle, 10**low, 10**high, table)


def _committed() -> pd.DataFrame:
    file = find_root() / "figures" / "laptop" / "tables" / f"{TABLE}.csv"
    if not file.is_file():
        raise StudyError(f"benefit needs {file}, which the run {TABLE} has not made yet.")
    return pd.read_csv(file)


def draw(table: pd.DataFrame, predictions: pd.DataFrame) -> Figure:
    """Every feature against the gain, with its rank correlation, and the gains predicted for families left out."""
    columns = 4
    rows = -(-(len(WORDS) + 1) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(12, 2.7 * rows + 0.6), sharey=True, layout="constrained")
    for name, axes in zip(WORDS, grid.flat, strict=False):
        draw_feature(axes, table, name)
        axes.set_title(f"Spearman {_spearman(table[name], table[GAIN]):+.2f}")
    last, *unused = grid.flat[len(WORDS) :]
    _points(last, table, 10 ** predictions["predicted"])
    ends = 10 ** np.array([table[GAIN].min(), table[GAIN].max()])
    last.plot(ends, ends, color="0.6", linewidth=1)
    last.set_xscale("log")
    _few_numbers(last.xaxis)
    last.set_xlabel("gain predicted from the other families")
    last.set_title(f"left out: Spearman {agreement(predictions):+.2f}")
    for axes in grid[:, 1:].flat:
        axes.set_ylabel("")
    for axes in unused:
        axes.set_axis_off()
    handles, labels = last.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        f"What training gained over SCS on {len(table)} families, against what needs no training", fontsize=10
    )
    return figure


def draw_feature(axes: Axes, table: pd.DataFrame, feature: str) -> None:
    """One feature against the gain: a point per family, filled where A is fixed, and the line that predicts."""
    _points(axes, table, table[feature])
    if table[feature].nunique() > 1:
        ends = np.array([table[feature].min(), table[feature].max()])
        axes.plot(ends, 10 ** predict(table, feature, ends), color="0.6", linewidth=1)
    axes.set_xlabel(textwrap.fill(WORDS[feature], 38), fontsize=8)


def _points(axes: Axes, table: pd.DataFrame, values: pd.Series) -> None:
    for fixed, face in ((True, "C0"), (False, "white")):
        which = table[FIXED] == fixed
        label = "A fixed" if fixed else "A varies"
        axes.scatter(values[which], 10 ** table.loc[which, GAIN], c=face, edgecolors="C0", label=label)
    axes.set_yscale("log")
    _few_numbers(axes.yaxis)
    axes.set_ylabel("gain over SCS")


def _few_numbers(axis: Axis) -> None:
    """1 and 3 times powers of ten along a logarithmic axis, written out."""
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _spearman(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Spearman's rank correlation along the last axis; nan where either is constant."""
    one, two = (rankdata(values, axis=-1) for values in (first, second))
    one, two = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (one, two))
    size = np.sqrt((one**2).sum(axis=-1) * (two**2).sum(axis=-1))
    return np.divide((one * two).sum(axis=-1), size, out=np.full(size.shape, np.nan), where=size > 0)
