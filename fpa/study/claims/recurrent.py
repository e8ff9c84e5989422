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
        statement = f"{self.method} reaches {self.level:g} on {self.problem} at iteration {self.paper}"
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


CLAIMS = (
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
