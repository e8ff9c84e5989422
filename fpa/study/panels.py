"""Statistics of one panel of a figure's data.

m(method, metric, k): mean over instances and models after k applications of the map;
G(method, k) = geomean(SCS, k) / geomean(method, k), the gain; cross(method, level) = first k with m <= level.
"""

from dataclasses import dataclass

import pandas as pd

from fpa.study.errors import StudyError
from fpa.study.plotting import comparable


class Missing(LookupError):
    """Data that have not been computed yet."""


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

    def m(self, method: str, metric: str, k: int, statistic: str = "mean") -> float:
        """The mean, or another statistic, over instances and models after `k` applications of the map."""
        return _at(self.column(method, metric, statistic), k)

    def gain(self, method: str, k: int, metric: str = "fixed_point") -> float:
        """G: how many times smaller than with SCS the geometric mean is after `k` applications."""
        reference, ours = (self.column(name, metric, "geomean") for name in ("SCS", method))
        return _at(reference, k) / _at(ours, k)

    def gains(self, method: str, metric: str = "fixed_point", over: str = "SCS", last: int = 50) -> pd.Series:
        """By how much the geometric mean of a method is below another's, by iteration, up to `last`.

        Other metrics than the raw fixed-point residual count from where every instance has had a tau > 0 in two
        iterations with either method.
        """
        ours, theirs = (self.column(name, metric, "geomean") for name in (method, over))
        first = 1 if metric == "fixed_point" else self.settled(method, over)
        return (theirs / ours).loc[first:last]

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


def _at(curve: pd.Series, k: int) -> float:
    if k not in curve.index:
        raise Missing(f"iteration {k}")
    return float(curve[k])
