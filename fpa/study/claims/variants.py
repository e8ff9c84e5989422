"""Figures 3 to 8, 10 and 11: from the small Lasso to linear dynamical systems."""

import numpy as np
import pandas as pd

from fpa.study.claims.base import Claim, Curves, Evidence, Verdict, verdict

MLP = "SCS+Neural-MLP"
_FIXED_POINTS = ("fixed_point", "fixed_point_normalized")


def _geomean(values: pd.Series) -> float:
    return float(np.exp(np.log(values).mean()))


def _original(evidence: Evidence) -> Verdict:
    curves = evidence.curves("04_original", "p = 10, q = 20")
    gains = [curves.gains(MLP, metric) for metric in _FIXED_POINTS]
    best = [int(g.idxmax()) for g in gains]
    late = max(float(g.loc[12:].max()) for g in gains)
    told = f"largest gain {gains[0].max():.2g} at {best[0]}; at most {late:.2g} from 12 on"
    return verdict(told, max(best) <= 8 and late <= 1.2, late > 1.2)


def _fixed_source(evidence: Evidence) -> Verdict:
    curves = evidence.curves("04_fixed_source", "q = 20")
    gains = [curves.gains(MLP, metric) for metric in _FIXED_POINTS]
    crossed = [curves.cross(MLP, 1e-5, metric) for metric in ("primal", "dual")]
    told = f"gain at least {gains[0].min():.2g}, on average {_geomean(gains[0]):.3g}; primal, dual to 1e-5 at {crossed}"
    by_40 = all(k is not None and k <= 40 for k in crossed)
    return verdict(told, all(g.min() > 1 and _geomean(g) >= 10 for g in gains) and by_40)


def _fixed_source_anderson(evidence: Evidence) -> Verdict:
    curves = evidence.curves("04_fixed_source", "q = 20")
    early = [_geomean(curves.gains(MLP, metric, "SCS+AA").loc[:10]) for metric in _FIXED_POINTS]
    first = {"fixed_point": 1, "fixed_point_normalized": curves.settled(MLP, "SCS+AA")}
    columns = [[curves.column(name, metric).loc[k:30] for name in (MLP, "SCS+AA")] for metric, k in first.items()]
    below = all((ours < theirs).all() for ours, theirs in columns)
    told = f"below AA until 30: {'yes' if below else 'no'}; {early[0]:.2g} below it over the first 10"
    return verdict(told, below and min(early) >= 100)


def _noise(evidence: Evidence) -> Verdict:
    panels = [evidence.curves("04_reduced_noise", f"sigma = 1e-{k}") for k in (2, 3, 4)]
    gains = [curves.gain(MLP, 10) for curves in panels]
    reached = [curves.m(MLP, "fixed_point", 10) for curves in panels]
    told = ", ".join(f"gain {g:.2g} and residual {m:.2g}" for g, m in zip(gains, reached, strict=True))
    told += f" at 10; alike within {max(gains) / min(gains):.2g} times"
    normalized = all(curves.gain(MLP, 10, "fixed_point_normalized") > 1 for curves in panels)
    good = min(gains) > 1 and normalized and max(reached) <= 2e-3
    return verdict(told, good and max(gains) <= 2 * min(gains))


def _observations(evidence: Evidence) -> Verdict:
    base = evidence.curves("04_fixed_source", "q = 20")
    panels = [evidence.curves("04_more_observations", f"q = {q}") for q in (40, 60)]
    methods = ("SCS", "SCS+AA", MLP)
    least = {name: min(curves.m(name, "fixed_point", 50) for curves in panels) for name in methods}
    larger = all(value > base.m(name, "fixed_point", 50) for name, value in least.items())
    gains = [[_geomean(curves.gains(MLP, metric)) for metric in _FIXED_POINTS] for curves in panels]
    told = f"residuals at 50 larger: {'yes' if larger else 'no'}; average gains {gains[0][0]:.3g}, {gains[1][0]:.3g}"
    return verdict(told, larger and float(np.min(gains)) >= 100)


def _dynamic(evidence: Evidence) -> Verdict:
    panels = [evidence.curves("04_dynamic", f"{steps} steps") for steps in (2, 3)]
    source = evidence.curves("04_fixed_source", "q = 20")
    base = [_geomean(source.gains(MLP, metric)) for metric in _FIXED_POINTS]
    ratios = [curves.m("SCS", "fixed_point", 50) / curves.m("SCS+AA", "fixed_point", 50) for curves in panels]
    gains = [[_geomean(curves.gains(MLP, metric)) for metric in _FIXED_POINTS] for curves in panels]
    told = f"SCS over AA at 50: {ratios[0]:.2g}, {ratios[1]:.2g}; average gains {gains[0][0]:.3g}, {gains[1][0]:.3g}"
    close = all(0.5 <= ratio <= 2 for ratio in ratios)
    return verdict(told, close and float(np.min(gains)) >= 100 and bool((np.min(gains, axis=0) > base).all()))


def _dense(evidence: Evidence) -> Verdict:
    panels = [evidence.curves("04_dynamic_dense", f"{steps} steps") for steps in (2, 3)]
    two, three = ([curves.gain(MLP, 50, metric) for metric in _FIXED_POINTS] for curves in panels)
    return verdict(
        f"gains at 50: {two[0]:.2g} with 2 steps, {three[0]:.2g} with 3",
        max(two) <= 3 and min(three) >= 10,
        min(two) > 3 and min(three) > 10,
    )


def _last_gain(curves: Curves) -> tuple[float, float, str]:
    """The residual at the last iteration with a gain above 1.1, the largest gain from 15 on, and both in words."""
    gains = [curves.gains(MLP, metric) for metric in _FIXED_POINTS]
    above = gains[0].index[gains[0] > 1.1]
    last = int(above[-1]) if len(above) else 1
    residual, late = curves.m(MLP, "fixed_point", last), min(float(g.loc[15:].max()) for g in gains)
    told = f"gain at most {late:.2g} from 15 on, the last at {last} of 50, where the residual is {residual:.2g}"
    return residual, late, told


def _density(evidence: Evidence) -> Verdict:
    found = [_last_gain(evidence.curves("05_density", f"density {density}")) for density in (0.3, 0.5)]
    told = "; ".join(words for _, _, words in found)
    holds = all(late <= 1.2 and 2e-3 <= m <= 1e-2 for m, late, _ in found)
    return verdict(told, holds, all(late > 1.2 for _, late, _ in found))


def _fixed_noise(evidence: Evidence) -> Verdict:
    residual, late, told = _last_gain(evidence.curves("05_fixed_parts", "fixed noise"))
    return verdict(told, 3e-4 <= residual <= 3e-3, residual < 3e-4 and late > 1.2)


def _fixed_solution(evidence: Evidence) -> Verdict:
    curves = evidence.curves("05_fixed_parts", "fixed solution")
    gains = [curves.gains(MLP, metric) for metric in _FIXED_POINTS]
    early, late = float(gains[0].loc[4:].max()), min(float(g.loc[10:].max()) for g in gains)
    told = f"gain at most {early:.2g} after 3 and {late:.2g} from 10 on"
    return verdict(told, early <= 3 and late <= 1.2, late > 1.2)


CLAIMS = (
    Claim("C13", "Fig. 3", "Small Lasso: a modest gain around iteration 5, lost after 10", "lost", _original),
    Claim(
        "C14",
        "Fig. 4",
        "Fixed source: better at all 50 iterations, typically over 10 times; primal and dual 1e-5 by 35-40",
        "gain 10; 1e-5 by 40",
        _fixed_source,
    ),
    Claim(
        "C15",
        "Fig. 4",
        "Fixed source: better than AA for 30 iterations, 100 times in the first 10",
        "100 times",
        _fixed_source_anderson,
    ),
    Claim(
        "C16",
        "Fig. 5",
        "Less noise: gain down to 1e-3 at about 10, for all sigma alike (within 2 times)",
        "1e-3",
        _noise,
    ),
    Claim("C17", "Fig. 6", "q = 40 and 60: larger residuals than with 20, gain over 100", "gain 100", _observations),
    Claim(
        "C18",
        "Fig. 7",
        "Dynamic: AA close to SCS, gain well over 100 and more than with a fixed source",
        "100 times",
        _dynamic,
    ),
    Claim(
        "C19", "Fig. 8", "Dynamic, density 0.5: 2 steps poor, 3 steps good", "gain 3 with 2 steps, 10 with 3", _dense
    ),
    Claim("C21", "Fig. 10", "Densities 0.3 and 0.5: modest, down to 5e-3 (2e-3 to 1e-2)", "5e-3", _density),
    Claim("C22", "Fig. 11a", "Fixed noise: a gain down to about 1e-3 (3e-4 to 3e-3)", "1e-3", _fixed_noise),
    Claim("C23", "Fig. 11b", "Fixed solution: hardly any gain", "hardly", _fixed_solution),
)
