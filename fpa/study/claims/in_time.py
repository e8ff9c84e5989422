"""Claims of our own about time: whether anything learned is first, by the clock."""

import pandas as pd

from fpa.study.claims.base import Claim, Curves, Evidence, Missing, Verdict, verdict
from fpa.study.cost import in_words

LEVELS = ("0.0001", "1e-06")
AHEAD = 1.1  # times that differ by less than a tenth mean nothing


def _is_learned(method: str) -> bool:
    return "Neural" in method or "metric" in method


def _first(problem: str):
    """Whether a learned method takes the least time to both levels, by over a tenth, in batches of both sizes.

    What does not get there within the iterations followed counts with the time of all of them, if it is not learned.
    """

    def decide(evidence: Evidence) -> Verdict:
        run = f"23_in_time_{problem}"
        table, costs = evidence.table(run).set_index("method"), evidence.table(f"{run}_cost").set_index("method")
        steps = evidence.curves(run, "200 iterations").frame["iteration"].max()
        told, factors = [], []
        for batch, part in costs.astype(float).groupby("batch"):
            followed = part["setup"] + steps * part["iteration"]
            for level in LEVELS:
                column = f"ms to {level}, {in_words(int(str(batch).removesuffix('.0')))}"
                if column not in table:
                    raise Missing(f"{column} of {run}")
                spent = pd.to_numeric(table[column])
                learned = spent.index.map(_is_learned)
                ours, others = spent[learned].dropna(), spent.fillna(followed)[~learned]
                if ours.empty:
                    raise Missing(f"a learned method at {level} in {run}")
                factors.append(others.min() / ours.min())
                told.append(f"{level}, {column.split(', ')[1]}: {ours.idxmin()} {factors[-1]:.3g} times faster")
        return verdict("; ".join(told), bool(min(factors) > AHEAD))

    return decide


def _in_the_same_time(problem: str):
    """At how many of its first 50 iterations the recurrent model is ahead of plain SCS in the time they take."""

    def decide(evidence: Evidence) -> Verdict:
        run, model = f"02_recurrent_{problem}", "SCS+Neural"
        curves = evidence.curves(run, "200 iterations")
        told, ahead = [], []
        for batch, part in evidence.table(f"{run}_cost").set_index("method").groupby("batch", sort=False):
            costs = part[["setup", "iteration"]].astype(float)
            spent = [costs.loc[model, "setup"] + k * costs.loc[model, "iteration"] for k in range(1, 51)]
            others = [int((ms - costs.loc["SCS", "setup"]) / costs.loc["SCS", "iteration"]) for ms in spent]
            ahead.append(sum(_is_ahead(curves, model, k, others[k - 1]) for k in range(1, 51)))
            told.append(f"{ahead[-1]} of 50, {in_words(int(str(batch)))}")
        return verdict("; ".join(told), min(ahead) > 0)

    return decide


def _is_ahead(curves: Curves, model: str, k: int, other: int) -> bool:
    """Whether the model is below SCS by all of primal, dual and gap, after `k` and `other` iterations.

    Not where SCS was not followed that far.
    """
    if other > curves.column("SCS", "primal").index.max():
        return False
    return other < 1 or all(curves.m(model, m, k) < curves.m("SCS", m, other) for m in ("primal", "dual", "gap"))


def _claim(name: str, family: str) -> Claim:
    statement = f"{family}: a learned method is the first at 1e-4 and at 1e-6, by the clock and by over a tenth"
    return Claim(name, "ours", statement, "not claimed", _first(family.lower()))


def _recurrent(name: str, family: str) -> Claim:
    statement = (
        f"{family}: the recurrent model is ahead of SCS by primal, dual and gap in the same time, at some iteration"
    )
    return Claim(name, "ours", statement, "not claimed", _in_the_same_time(family.lower()))


CLAIMS = (
    _claim("N03", "Lasso"),
    _claim("N04", "Kalman"),
    _recurrent("N05", "Lasso"),
    _recurrent("N06", "Kalman"),
)
