"""Claims of our own about time: whether anything learned is first, by the clock."""

import numpy as np
import pandas as pd

from fpa.study.claims.base import Claim, Evidence, Verdict, verdict

LEVEL = "ms to 0.0001, "


def _is_learned(method: str) -> bool:
    return "Neural" in method or "metric" in method


def _first(problem: str):
    """Whether a learned method takes the least time to 1e-4, in batches of every size."""

    def decide(evidence: Evidence) -> Verdict:
        table = evidence.table(f"23_in_time_{problem}").set_index("method")
        told, factors = [], []
        for column in (name for name in table if name.startswith(LEVEL)):
            spent = pd.to_numeric(table[column]).fillna(np.inf)
            learned = spent.index.map(_is_learned)
            ours, others = spent[learned], spent[~learned]
            factors.append(others.min() / ours.min())
            size = column.removeprefix(LEVEL)
            told.append(f"{size}: {ours.idxmin()} {ours.min():.2g} ms, {others.idxmin()} {others.min():.2g} ms")
        return verdict("; ".join(told), bool(min(factors) > 1))

    return decide


CLAIMS = (
    Claim("N03", "ours", "Lasso: a learned method is the first at 1e-4, by the clock", "not claimed", _first("lasso")),
    Claim(
        "N04", "ours", "Kalman: a learned method is the first at 1e-4, by the clock", "not claimed", _first("kalman")
    ),
)
