"""What a claim is, and the quantities that decide it.

m(method, metric, k): mean over instances and models after k applications of the map;
G(method, k) = geomean(SCS, k) / geomean(method, k), the gain; cross(method, level) = first k with m <= level.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fpa.study.errors import StudyError
from fpa.study.plotting import comparable


class Missing(LookupError):
    """A claim's data have not been computed yet."""


class Verdict(NamedTuple):
    """Our value, and whether the statement holds: `yes`, `no`, or `exceeded` where we fail by being better."""

    ours: str
    holds: str


def verdict(ours: object, holds: bool, exceeded: bool = False) -> Verdict:
    """The verdict on a statement that `holds`, or is `exceeded`, or neither."""
    return Verdict(str(ours), "yes" if holds else "exceeded" if exceeded else "no")


@dataclass(frozen=True)
class Curves:
    """One panel of one figure's data."""

    run: str
    panel: str
    frame: pd.DataFrame

    def column(self, method: str, metric: str = "fixed_point", statistic: str = "mean") -> pd.Series:
        """A statistic of a method's metric, by iteration."""
        if not comparable(metric, method):
            raise StudyError(f"{method} iterates another map: a claim cannot compare its {metric} with other methods'.")
        chosen = self.frame[(self.frame["method"] == method) & (self.frame["metric"] == metric)]
        if chosen.empty:
            raise Missing(f"{metric} of {method} in the panel {self.panel!r} of {self.run}")
        return chosen.set_index("iteration")[statistic]

    def m(self, method: str, metric: str, k: int) -> float:
        """The mean over instances and models after `k` applications of the map."""
        return _at(self.column(method, metric), k)

    def gain(self, method: str, k: int, metric: str = "fixed_point") -> float:
        """G: how many times smaller than with SCS the geometric mean is after `k` applications."""
        reference, ours = (self.column(name, metric, "geomean") for name in ("SCS", method))
        return _at(reference, k) / _at(ours, k)

    def cross(self, method: str, level: float, metric: str = "fixed_point") -> int | None:
        """The first iteration at which the mean is at most `level`; None if there is none."""
        below = self.column(method, metric) <= level
        return int(below.idxmax()) if below.any() else None

    def settled(self, *methods: str) -> int:
        """The first iteration from which on all methods have a point, and had one before, on every instance."""
        chosen = self.frame[self.frame["method"].isin(methods) & (self.frame["metric"] == "fixed_point")]
        without = chosen[chosen["num_valid"] < chosen["num_instances"] * chosen["num_models"]]
        return int(without["iteration"].max()) + 2 if len(without) else 1

    def spread(self, method: str, first: int, last: int, metric: str = "fixed_point") -> float:
        """The median over iterations `first` to `last` of standard deviation over mean."""
        ratio = self.column(method, metric, "std") / self.column(method, metric)
        return float(ratio.loc[first:last].median())


@dataclass(frozen=True)
class Evidence:
    """Everything a claim may be decided by: the figures' data by run, and the tables by name."""

    data: Mapping[str, pd.DataFrame]
    tables: Mapping[str, pd.DataFrame]

    def curves(self, run: str, panel: str = "50 iterations") -> Curves:
        """One panel of the data of a run."""
        frame = _get(self.data, run, "the data of the run")
        return Curves(run, panel, frame[frame["panel"] == panel])

    def table(self, name: str) -> pd.DataFrame:
        """A table, all of its cells as text."""
        return _get(self.tables, name, "the table")

    def row(self, name: str, column: str, value: str) -> pd.Series:
        """The row of a table that has `value` in `column`; Missing where there is none, as in a table of older code."""
        table = self.table(name)
        found = table[table[column] == value] if column in table else table[:0]
        if found.empty:
            raise Missing(f"{column} {value!r} in the table {name}")
        return found.iloc[0]


@dataclass(frozen=True)
class Claim:
    """A numeric sentence of the paper: where it stands, its value there, and how our data decide it."""

    id: str
    source: str
    statement: str
    paper: str
    decide: Callable[[Evidence], Verdict]


def evidence(folder: Path) -> Evidence:
    """The evidence under `figures/<profile>/`."""
    data = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("data/*.csv"))}
    text = {"dtype": str, "keep_default_na": False}
    tables = {path.stem: pd.read_csv(path, **text) for path in sorted(folder.glob("tables/*.csv"))}
    return Evidence(data, tables)


def _at(curve: pd.Series, k: int) -> float:
    if k not in curve.index:
        raise Missing(f"iteration {k}")
    return float(curve[k])


def _get(frames: Mapping[str, pd.DataFrame], name: str, what: str) -> pd.DataFrame:
    if name not in frames:
        raise Missing(f"{what} {name}")
    return frames[name]
