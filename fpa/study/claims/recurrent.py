"""Figure 1: the baselines and the recurrent models on Lasso and Kalman filtering."""

from collections.abc import Callable
from dataclasses import dataclass

from fpa.study.claims.base import Claim, Evidence, Verdict, verdict

RUNS = {"Lasso": "02_recurrent_lasso", "Kalman": "02_recurrent_kalman"}


@dataclass(frozen=True)
class Baseline:
    """A baseline curve of Figure 1: where it crosses a level in the paper, and where by the paper's conventions."""

    id: str
    method: str
    problem: str
    level: float
    paper: int
    expected: int
    tolerance: int

    def claim(self) -> Claim:
        """The row of the scorecard that this baseline is."""
        near = f"{self.expected} +- {self.tolerance} by the paper's conventions"
        statement = f"{self.method} reaches {self.level:g} on {self.problem} at iteration {self.paper} ({near})"
        source = f"Fig. 1{'a' if self.problem == 'Lasso' else 'b'}"
        return Claim(self.id, source, statement, str(self.paper), self.decide)

    def decide(self, evidence: Evidence) -> Verdict:
        """Our crossing is within the tolerance of the expected one."""
        crossing = evidence.curves(RUNS[self.problem]).cross(self.method, self.level)
        near = crossing is not None and abs(crossing - self.expected) <= self.tolerance
        return verdict("never" if crossing is None else crossing, near)


def _both(ratio: Callable[[str, Evidence], float], at_least: float, evidence: Evidence) -> Verdict:
    values = {problem: ratio(run, evidence) for problem, run in RUNS.items()}
    ours = ", ".join(f"{problem} {value:.2g}" for problem, value in values.items())
    return verdict(ours, min(values.values()) >= at_least)


def _spread_of_anderson(run: str, evidence: Evidence) -> float:
    curves = evidence.curves(run)
    return curves.spread("SCS+AA", 20, 50) / curves.spread("SCS", 20, 50)


RECURRENT = "SCS+Neural"


def _crossings(problem: str, level: float, evidence: Evidence) -> dict[str, int | None]:
    """Where a method's mean first is at most `level`.

    With `normalized`: where the recurrent model has reached the residual at tau = 1 that Anderson acceleration has at
    its crossing, so that a small tau buys nothing.
    """
    curves = evidence.curves(RUNS[problem])
    found = {name: curves.cross(name, level) for name in ("SCS", "SCS+AA", RECURRENT)}
    anderson = found["SCS+AA"]
    normalized = None
    if anderson is not None:
        reached = curves.m("SCS+AA", "fixed_point_normalized", anderson)
        normalized = curves.cross(RECURRENT, reached, "fixed_point_normalized")
    return found | {"normalized": normalized}


def _told(found: dict[str, int | None]) -> str:
    first = ", ".join(f"{name} {found[name] or 'never'}" for name in (RECURRENT, "SCS+AA", "SCS"))
    return f"{first}; AA's residual at tau = 1 at {found['normalized'] or 'never'}"


def _lasso_crossing(evidence: Evidence) -> Verdict:
    found = _crossings("Lasso", 1e-3, evidence)
    never = float("inf")
    ours, normalized = found[RECURRENT] or never, found["normalized"] or never
    anderson, scs = found["SCS+AA"] or never, found["SCS"] or never
    return verdict(_told(found), max(ours, normalized) <= min(28, 0.8 * anderson) and ours <= 0.6 * scs)


def _lasso_residuals(evidence: Evidence) -> Verdict:
    curves = evidence.curves(RUNS["Lasso"])
    ratios = {m: curves.m("SCS", m, 25) / curves.m(RECURRENT, m, 25) for m in ("primal", "dual")}
    ours = ", ".join(f"{metric} {ratio:.2g} times below SCS" for metric, ratio in ratios.items())
    return verdict(ours, min(ratios.values()) >= 1.5)


def _kalman_crossing(evidence: Evidence) -> Verdict:
    found = _crossings("Kalman", 1e-2, evidence)
    ours = max(found[RECURRENT] or 999, found["normalized"] or 999)
    return verdict(_told(found), ours <= 7 and min(found["SCS"] or 999, found["SCS+AA"] or 999) >= 25)


def _kalman_residuals(evidence: Evidence) -> Verdict:
    curves = evidence.curves(RUNS["Kalman"])
    metrics = ("fixed_point", "fixed_point_normalized", "primal", "dual")
    gains = {metric: curves.gain(RECURRENT, 10, metric) for metric in metrics}
    ours = ", ".join(f"{metric} {gain:.2g}" for metric, gain in gains.items())
    fixed_points, others = [gains[m] for m in metrics[:2]], [gains[m] for m in metrics[2:]]
    much_less = min(fixed_points) >= 3 * max(others)
    return verdict(f"gains at 10: {ours}", much_less, exceeded=min(gains.values()) >= 3)


def _overtaken(evidence: Evidence) -> Verdict:
    """The first iterations from which Anderson acceleration is below to the end of the panel, raw and at tau = 1."""
    curves = evidence.curves(RUNS["Lasso"])
    firsts = []
    for metric in ("fixed_point", "fixed_point_normalized"):
        ahead = curves.column("SCS+AA", metric) < curves.column(RECURRENT, metric)
        behind = ahead.index[~ahead]
        firsts.append(int(behind.max()) + 1 if len(behind) else int(ahead.index.min()))
    told = ", at tau = 1 ".join("not by 50" if first > 50 else f"from {first}" for first in firsts)
    return verdict(told, all(30 < first <= 50 for first in firsts), exceeded=min(firsts) > 50)


CLAIMS = (
    Claim(
        "C01",
        "Fig. 1a",
        "Lasso: the recurrent model reaches 1e-3 in 25 iterations, AA in 35",
        "25, AA 35, SCS 50",
        _lasso_crossing,
    ),
    Claim(
        "C02",
        "Fig. 1a",
        "Lasso: primal and dual residuals improve correspondingly (at 25 by over 1.5 times)",
        "correspondingly",
        _lasso_residuals,
    ),
    Claim(
        "C03",
        "Fig. 1b",
        "Kalman: the recurrent model reaches 1e-2 in 5 iterations",
        "5, AA 30, SCS 30",
        _kalman_crossing,
    ),
    Claim(
        "C04",
        "Fig. 1b",
        "Kalman: the recurrent model improves primal and dual much less",
        "much less",
        _kalman_residuals,
    ),
    Claim("C05", "Fig. 1a", "Lasso: AA overtakes the recurrent model late", "late", _overtaken),
    Claim(
        "C06",
        "Fig. 1",
        "SCS+AA has a high standard deviation: relative to its mean at least twice SCS's",
        "consistently high",
        lambda evidence: _both(_spread_of_anderson, 2.0, evidence),
    ),
    Baseline("B01", "SCS", "Lasso", 1e-3, paper=50, expected=47, tolerance=3).claim(),
    Baseline("B02", "SCS+AA", "Lasso", 1e-3, paper=35, expected=37, tolerance=4).claim(),
    Baseline("B03", "SCS", "Kalman", 1e-2, paper=30, expected=31, tolerance=3).claim(),
    Baseline("B04", "SCS+AA", "Kalman", 1e-2, paper=30, expected=32, tolerance=4).claim(),
)
