"""What a claim is, and what decides it: the figures' curves (`fpa.study.panels`) and the tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fpa.study.panels import Curves as Curves
from fpa.study.panels import Missing as Missing


class Verdict(NamedTuple):
    """Our value, and whether the statement holds: `yes`, `no`, or `exceeded` where we fail by being better."""

    ours: str
    holds: str


def verdict(ours: object, holds: bool, exceeded: bool = False) -> Verdict:
    """The verdict on a statement that `holds`, or is `exceeded`, or neither."""
    return Verdict(str(ours), "yes" if holds else "exceeded" if exceeded else "no")


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

    def rows(self, name: str, column: str, value: str) -> pd.DataFrame:
        """The rows of a table with `value` in `column`; Missing where there is none, as in a table of older code."""
        table = self.table(name)
        found = table[table[column] == value] if column in table else table[:0]
        if found.empty:
            raise Missing(f"{column} {value!r} in the table {name}")
        return found

    def numbers(self, name: str, column: str, value: str, wanted: Sequence[str]) -> list[float]:
        """The numbers in the columns `wanted` of the first of `rows`; Missing where there is no such column."""
        row = self.rows(name, column, value).iloc[0]
        absent = [one for one in wanted if one not in row]
        if absent:
            raise Missing(f"{absent} in the table {name}")
        return [float(row[one]) for one in wanted]


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


def _get(frames: Mapping[str, pd.DataFrame], name: str, what: str) -> pd.DataFrame:
    if name not in frames:
        raise Missing(f"{what} {name}")
    return frames[name]
