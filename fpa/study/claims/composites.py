"""L2O-PA (Liu et al., 2023): its figures and tables, with the released step sizes and with the right ones."""

from collections.abc import Callable, Sequence

import pandas as pd

from fpa.study.claims.base import Claim, Evidence, Missing, Verdict, verdict

LASSO, LOGISTIC = "10_l2o_pa_lasso", "11_l2o_pa_logistic"
PA, METRIC = "L2O-PA", "objective"
VARIANTS = ("PBA12", "PBA1", "PBA2", "PBA", "PA", "P", "A")
PRECISE = 1e-7
"""What counts as machine precision in the paper's single precision."""


def _needed(table: pd.DataFrame, method: str, level: str, what: str = "iterations") -> float:
    """Median iterations (or ms) of a method to a level; infinite where it does not get there."""
    rows = table[table["method"] == method]
    if rows.empty:
        raise Missing(f"{method} in a table")
    entry = rows[f"{what} to {level}"].iloc[0]
    return float(entry) if entry else float("inf")


def _number(needed: float) -> str:
    return "never" if needed == float("inf") else f"{needed:.4g}"


def _all_precise(evidence: Evidence) -> Verdict:
    curves = evidence.curves(f"{LASSO}_ablation", "ablation")
    last = {name: float(curves.column(f"L2O-{name}", METRIC).iloc[-1]) for name in VARIANTS}
    told = ", ".join(f"{name} {value:.0e}" for name, value in last.items())
    return verdict(f"mean gap at the end: {told}", all(value <= PRECISE for value in last.values()))


def _first(run: str, *others: str, model: str = PA) -> Callable[[Evidence], Verdict]:
    """The model needs fewer iterations to 1e-6 than each of the others."""

    def decide(evidence: Evidence) -> Verdict:
        table = evidence.table(run)
        needed = {name: _needed(table, name, "1e-06") for name in (model, *others)}
        told = ", ".join(f"{name} {_number(value)}" for name, value in needed.items())
        return verdict(f"iterations to 1e-6: {told}", needed[model] < min(needed[name] for name in others))

    return decide


def _carries_over(evidence: Evidence) -> Verdict:
    """The models of the Lasso on logistic regression: ahead in the median, and all of them converge."""
    model = "L2O-PA of the Lasso"
    ahead = _first(LOGISTIC, "FISTA", "FISTA released", "L2O-DM", "L2O-RNNprop", model=model)(evidence)
    last = float(evidence.curves(LOGISTIC, "in distribution").column(model, METRIC).iloc[-1])
    return verdict(f"{ahead.ours}; mean gap at the end {last:.0e}", ahead.holds == "yes" and last <= PRECISE)


def _precise(evidence: Evidence) -> Verdict:
    last = float(evidence.curves(LASSO, "in distribution").column(PA, METRIC).iloc[-1])
    return verdict(f"mean gap at the end {last:.0e}", last <= PRECISE)


def _guarded(evidence: Evidence) -> Verdict:
    """Under the safeguard the mean over all runs is small at the end, which no diverging run would leave it."""
    last = {
        run: float(evidence.curves(run, "in distribution").column(name, METRIC).iloc[-1])
        for run, name in ((LASSO, f"{PA} safe"), (LOGISTIC, f"{PA} of the Lasso safe"))
    }
    told = ", ".join(f"{value:.0e}" for value in last.values())
    return verdict(f"mean gap at the end, Lasso and logistic: {told}", all(value <= PRECISE for value in last.values()))


def _stall(evidence: Evidence) -> Verdict:
    curves = evidence.curves(LOGISTIC, "in distribution")
    last = {name: float(curves.column(name, METRIC).iloc[-1]) for name in ("L2O-DM", "L2O-RNNprop")}
    told = ", ".join(f"{name} {value:.0e}" for name, value in last.items())
    return verdict(f"mean gap at the end: {told}", min(last.values()) > 1e-3)


def _small_biases(model: str) -> Callable[[Evidence], Verdict]:
    def decide(evidence: Evidence) -> Verdict:
        table = evidence.table(f"{LASSO}_biases")
        later = table[(table["model"] == model) & (table["iteration"].astype(int) > 10)]
        found = {name: float(later[name].astype(float).mean()) for name in ("b1", "b2")}
        told = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
        return verdict(f"mean absolute bias after ten iterations: {told}", max(found.values()) < 1e-2)

    return decide


def _away(evidence: Evidence) -> Verdict:
    curves = evidence.curves(f"{LASSO}_patches", "natural patches")
    last = {name: float(curves.column(name, METRIC).iloc[-1]) for name in (PA, "L2O-DM", "L2O-RNNprop")}
    told = ", ".join(f"{name} {value:.0e}" for name, value in last.items())
    others = min(last["L2O-DM"], last["L2O-RNNprop"])
    return verdict(f"mean gap at the end: {told}", last[PA] <= PRECISE and others > 1e-3)


def _times(slow: float, fast: float) -> float:
    """How many times fewer iterations; 0 where the faster method never gets there."""
    return 0.0 if fast == float("inf") else slow / fast


def _factor(factor: float) -> str:
    return f"{factor:.3g} times" if factor else "never there"


def _ratio(run: str, model: str, other: str, least: float) -> Callable[[Evidence], Verdict]:
    """On every data set of a table the model needs at least `least` times fewer iterations to 1e-6 than the other."""

    def decide(evidence: Evidence) -> Verdict:
        table = evidence.table(run)
        sets = table.groupby("data") if "data" in table else [("", table)]
        factors = {
            str(data): _times(_needed(part, other, "1e-06"), _needed(part, model, "1e-06")) for data, part in sets
        }
        told = ", ".join(f"{_factor(factor)}{f' on {data}' if data else ''}" for data, factor in factors.items())
        return verdict(f"{model} over {other}: {told}", min(factors.values()) >= least)

    return decide


def _within(models: Sequence[str], most: int) -> Callable[[Evidence], Verdict]:
    def decide(evidence: Evidence) -> Verdict:
        needed = {model: _needed(evidence.table(LOGISTIC), model, "1e-06") for model in models}
        told = ", ".join(f"{model} {_number(value)}" for model, value in needed.items())
        return verdict(f"iterations to 1e-6: {told}", max(needed.values()) <= most)

    return decide


def _late(evidence: Evidence) -> Verdict:
    """Early ahead of FISTA, late behind it."""
    table = evidence.table(f"{LOGISTIC}_long")
    ahead = {k: _times(_needed(table, "FISTA", k), _needed(table, PA, k)) for k in ("1e-02", "1e-04")}
    curves = evidence.curves(f"{LOGISTIC}_long", "long horizon")
    last = {name: float(curves.column(name, METRIC).iloc[-1]) for name in (PA, "FISTA")}
    factors = ", ".join(f"to {level} {_factor(factor)}" for level, factor in ahead.items())
    ends = f"gap at the end {last[PA]:.0e}, FISTA {last['FISTA']:.0e} ({table['data'].iloc[0]})"
    return verdict(
        f"FISTA's iterations over its own: {factors}; {ends}", ahead["1e-02"] > 1 and last[PA] > last["FISTA"]
    )


def _faster(run: str, other: str, level: str = "1e-06") -> Callable[[Evidence], Verdict]:
    def decide(evidence: Evidence) -> Verdict:
        table = evidence.table(run)
        spent = {name: _needed(table, name, level, "ms") for name in (PA, other)}
        told = ", ".join(f"{name} {_number(value)}" for name, value in spent.items())
        return verdict(f"ms per instance to {level}: {told}", spent[PA] < spent[other])

    return decide


_SOURCE = "Liu et al. 2023"
_RIVALS = ("ISTA", "FISTA", "Adam", "AdamHD", "L2O-DM", "L2O-RNNprop")
_ABLATION, _PATCHES, _DATA = f"{LASSO}_ablation", f"{LASSO}_patches", f"{LOGISTIC}_data"

CLAIMS = (
    Claim(
        "L1",
        f"{_SOURCE}, Fig. 1",
        "Every variant reaches machine precision (mean gap at most 1e-7)",
        "yes",
        _all_precise,
    ),
    Claim(
        "L2",
        f"{_SOURCE}, Fig. 1",
        "Without biases is better than with learned ones (free biases)",
        "yes",
        _first(_ABLATION, "L2O-PBA1", "L2O-PBA2", "L2O-PBA12", model="L2O-PBA"),
    ),
    Claim(
        "L3",
        f"{_SOURCE}, Fig. 1",
        "Without biases is better than with learned ones, as released (positive biases)",
        "yes",
        _first(_ABLATION, "L2O-PBA12 released", model="L2O-PBA"),
    ),
    Claim("L4", f"{_SOURCE}, Fig. 2", "Biases become small after ten iterations", "yes", _small_biases("PBA12")),
    Claim("L5", f"{_SOURCE}, Fig. 3", "Lasso: L2O-PA first", "yes", _first(LASSO, *_RIVALS, "Ada-LISTA")),
    Claim("L6", "ours", "Lasso: L2O-PA ahead of restarts and AA", "not shown", _first(LASSO, "FISTA+restart", "PG+AA")),
    Claim(
        "L7", f"{_SOURCE}, Fig. 4", "Patches: machine precision (at most 1e-7), L2O-DM and RNNprop stall", "yes", _away
    ),
    Claim("L8", "ours", "Patches: ahead of restarts and AA", "not shown", _first(_PATCHES, "FISTA+restart", "PG+AA")),
    Claim(
        "L9",
        f"{_SOURCE}, Fig. 5",
        "Logistic: solved in 10 iterations, with the right step and as released",
        "at most 10",
        _within((PA, "L2O-PA released"), 10),
    ),
    Claim(
        "L10",
        f"{_SOURCE}, Fig. 5",
        "Logistic: almost 100 (over 80) times faster than FISTA (both as released)",
        "almost 100",
        _ratio(LOGISTIC, "L2O-PA released", "FISTA released", 80),
    ),
    Claim(
        "L11",
        "ours",
        "Logistic: almost 100 times faster than FISTA, with the right step",
        "not shown",
        _ratio(LOGISTIC, PA, "FISTA", 80),
    ),
    Claim(
        "L12",
        f"{_SOURCE}, Fig. 6, 7",
        "Data, or their stand-in: over 10 times faster than FISTA (both as released)",
        "over 10, almost 20",
        _ratio(_DATA, "L2O-PA released", "FISTA released", 10),
    ),
    Claim(
        "L13",
        "ours",
        "Data, or their stand-in: over 10 times faster than FISTA, with the right step",
        "not shown",
        _ratio(_DATA, PA, "FISTA", 10),
    ),
    Claim(
        "L14",
        f"{_SOURCE}, Fig. 8",
        "Ten times larger Lasso: L2O-PA first",
        "yes",
        _first(f"{LASSO}_large", "ISTA", "FISTA", "L2O-DM", "L2O-RNNprop"),
    ),
    Claim("L15", f"{_SOURCE}, Fig. 9", "Long horizon: early ahead of FISTA, slow late", "yes", _late),
    Claim(
        "L16",
        f"{_SOURCE}, Fig. 10",
        "Trained on the Lasso, ahead of FISTA and competitors on logistic, and stable (mean gap at most 1e-7)",
        "yes",
        _carries_over,
    ),
    Claim("L17", f"{_SOURCE}, Table 2", "Lasso: less time than AdamHD", "yes", _faster(LASSO, "AdamHD", "1e-04")),
    Claim("L18", "ours", "Lasso: less time than with restarts", "not shown", _faster(LASSO, "FISTA+restart")),
    Claim("L19", "ours", "Logistic: less time than with restarts", "not shown", _faster(LOGISTIC, "FISTA+restart")),
    Claim(
        "L20",
        f"{_SOURCE}, Fig. 2",
        "Biases become small, as released (positive biases)",
        "yes",
        _small_biases("PBA12, as released"),
    ),
    Claim("L21", f"{_SOURCE}, Fig. 3", "Lasso: machine precision (mean gap at most 1e-7)", "yes", _precise),
    Claim("L22", f"{_SOURCE}, Fig. 5", "Logistic: L2O-DM and RNNprop stall (mean gap over 1e-3)", "yes", _stall),
    Claim(
        "L23",
        "ours",
        "Ten times larger Lasso: L2O-PA ahead of restarts and AA",
        "not shown",
        _first(f"{LASSO}_large", "FISTA+restart", "PG+AA"),
    ),
    Claim(
        "L24",
        "ours",
        "Logistic: L2O-PA ahead of restarts and AA, in iterations",
        "not shown",
        _first(LOGISTIC, "FISTA+restart", "PG+AA"),
    ),
    Claim(
        "L25",
        "ours",
        "The models of the Lasso under our safeguard: no run diverges, on Lasso and logistic (mean gap at most 1e-7)",
        "not shown",
        _guarded,
    ),
)
