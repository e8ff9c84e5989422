"""Figures 12 and 13: what is learned from residuals that are not divided by tau."""

from fpa.study.claims.base import Claim, Evidence, Verdict, verdict

RUN, MODEL = "06_tau_normalisation", "SCS+Neural"


def _residuals(evidence: Evidence) -> Verdict:
    curves = evidence.curves(RUN)
    worse = {m: curves.m(MODEL, m, 50) / curves.m("SCS", m, 50) for m in ("primal", "dual")}
    raw = {k: curves.m(MODEL, "fixed_point", k) / curves.m("SCS", "fixed_point", k) for k in (5, 50)}
    told = f"times SCS's: primal {worse['primal']:.2g}, dual {worse['dual']:.2g} at 50; "
    told += f"fixed point {raw[5]:.2g} at 5, {raw[50]:.2g} at 50"
    return verdict(told, min(worse.values()) >= 3 and raw[5] < 1 < raw[50])


def _scales(evidence: Evidence) -> Verdict:
    curves = evidence.curves(RUN)
    early, late = (curves.m(MODEL, "tau", k) for k in (5, 50))
    share = early / late if late > 0 else float("inf")
    drift = {}
    for name in ("SCS", "SCS+AA"):
        column = curves.column(name, "tau").loc[5:50]
        drift[name] = float((column / column.iloc[-1] - 1).abs().max())
    told = f"tau at 5 is {share:.2g} of that at 50; SCS and AA from 5 on within {max(drift.values()):.1%} of the end"
    return verdict(told, share <= 0.5 and max(drift.values()) <= 0.1)


CLAIMS = (
    Claim(
        "C24",
        "Fig. 12",
        "Without tau normalisation: primal and dual far worse, fixed point better first and worse at the end",
        "far worse",
        _residuals,
    ),
    Claim("C25", "Fig. 13", "The learned tau starts very low; SCS and AA find theirs by 3-4", "very low", _scales),
)
