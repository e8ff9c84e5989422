"""Figure 9: how quickly a model is learned."""

import pandas as pd

from fpa.study.claims.base import Claim, Evidence, Missing, Verdict, verdict

_EARLY = 5000


def _learned(evidence: Evidence) -> Verdict:
    table = evidence.table("04_learning_curves_summary").astype({"updates": int, "residual": float})
    dynamic, fixed = (_curve(table, panel) for panel in ("dynamic, 3 steps", "fixed source"))
    ratios = [float(curve.loc[_EARLY] / curve.iloc[-1]) for curve in (dynamic, fixed)]
    told = (
        f"at {_EARLY:,} dynamic {ratios[0]:.2g}, fixed source {ratios[1]:.2g} times the end's, to {fixed.index[-1]:,}"
    )
    return verdict(told, ratios[0] <= 1.5 < ratios[1])


def _curve(table: pd.DataFrame, panel: str) -> pd.Series:
    """Residual by number of updates, trained as in the paper."""
    chosen = table[(table["recipe"] == "windows") & (table["panel"] == panel)].set_index("updates")["residual"]
    if _EARLY not in chosen.index or chosen.index[-1] <= _EARLY:
        raise Missing(f"{panel} in the learning curves, at {_EARLY} updates and later")
    return chosen


CLAIMS = (
    Claim(
        "C20",
        "Fig. 9",
        "After 5,000 updates 3-step dynamic is within 1.5 of its best, fixed source not (narrow networks, to 10,000)",
        "near its best; to 50,000",
        _learned,
    ),
)
