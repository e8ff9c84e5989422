"""Claims of our own about time: whether anything learned is first, by the clock."""

import pandas as pd

from fpa.study.claims.base import Claim, Evidence, Missing, Verdict, verdict
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


def _claim(name: str, family: str) -> Claim:
    statement = f"{family}: a learned method is the first at 1e-4 and at 1e-6, by the clock and by over a tenth"
    return Claim(name, "ours", statement, "not claimed", _first(family.lower()))


CLAIMS = (_claim("N03", "Lasso"), _claim("N04", "Kalman"))
