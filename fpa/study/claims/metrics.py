"""Learned metrics (King et al., 2024): the paper's key results, its limitations, and what it left to check."""

from collections.abc import Callable

from fpa.study.claims.base import Claim, Evidence, Verdict, verdict

FAMILIES = ("toy", "portfolio_20", "portfolio_100", "quadcopter")
LEARNED, CONSTANT = "DR learned metric", "DR constant metric"


def _error(evidence: Evidence, family: str, method: str, k: int = 10, statistic: str = "mean") -> float:
    run = f"20_metric_{family}"
    return evidence.curves(run, family.replace("_", " ")).m(method, "error", k, statistic)


def _better(family: str, published: str) -> Callable[[Evidence], Verdict]:
    """At least 100 times below the identity and below the best scalars, in mean squared error."""

    def decide(evidence: Evidence) -> Verdict:
        learned, identity, tuned = (_error(evidence, family, name) for name in (LEARNED, "DR", "DR tuned"))
        told = f"{learned:.1e}; identity {identity:.1e}, best scalars {tuned:.1e}; in the paper's data {published}"
        return verdict(told, identity / learned >= 100 and learned < tuned)

    return decide


def _identity(evidence: Evidence) -> Verdict:
    ours = [_error(evidence, "portfolio_20", "DR", k) for k in (5, 10, 20)]
    factors = [max(a / b, b / a) for a, b in zip(ours, (1.2e-3, 1.8e-4, 4.1e-6), strict=True)]
    return verdict(" / ".join(f"{value:.1e}" for value in ours), max(factors) <= 10)


def _limits(evidence: Evidence) -> Verdict:
    factors = {name: _error(evidence, name, "DR Giselsson-Boyd") / _error(evidence, name, LEARNED) for name in FAMILIES}
    told = ", ".join(f"{name.replace('_', ' ')} {factor:.2g}" for name, factor in factors.items())
    return verdict(f"times below Giselsson-Boyd: {told}", min(factors.values()) > 1)


def _active_set(evidence: Evidence) -> Verdict:
    found = {name: float(evidence.table(f"20_metric_{name}_activity")["AUC"].iloc[0]) for name in FAMILIES}
    told = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in found.items())
    return verdict(f"AUC {told}", min(found.values()) > 0.9)


def _many(evidence: Evidence) -> Verdict:
    table = evidence.table("21_many_inequalities_correlations").set_index(["gain over", "feature"])
    rho = {word: float(table.loc[(word, "ratio"), "rho"]) for word in ("identity", "tuned")}
    told = f"over identity {rho['identity']:.2f}, over the best scalars {rho['tuned']:.2f}"
    return verdict(f"rank correlation of gain and inequalities per variable: {told}", min(rho.values()) >= 0.5)


def _shifted(evidence: Evidence) -> Verdict:
    solved, slower = [], []
    for name in FAMILIES[:3]:  # a quadcopter whose present angles are out of bounds has no solution
        table = evidence.rows(f"20_metric_{name}_shifted", "parameters times", "3").set_index("method").astype(float)
        solved.append(table.loc[LEARNED, "solved"])
        slower.append(table.loc[LEARNED, "iterations"] / table.loc["DR", "iterations"])
    told = f"{min(solved):.1%} of 100 instances solved, in at most {max(slower):.2g} times the identity's iterations"
    return verdict(f"toy and portfolios at three times the range: {told}", bool(min(solved) == 1))


def _high_dimension(evidence: Evidence) -> Verdict:
    """Where there are many variables and many active constraints: the largest of the grid, and portfolio 100."""
    grid = evidence.table("21_many_inequalities").astype(float)
    large = grid[(grid["n"] == grid["n"].max()) & (grid["ratio"] == grid["ratio"].max())].iloc[0]
    active = evidence.table("20_metric_portfolio_100_activity").astype(float)["active"].iloc[0]
    errors = [_error(evidence, "portfolio_100", name) for name in ("DR tuned", LEARNED)]
    found = {
        f"n = {large['n']:.0f}, {large['active'] * large['inequalities']:.0f} active": large["gain over tuned"],
        f"portfolio 100, {active * 100:.0f} active": errors[0] / errors[1],
    }
    told = "; ".join(f"{name}: {gain:.2g}" for name, gain in found.items())
    return verdict(f"times below the best scalars at ten: {told}", bool(min(found.values()) > 1))


def _overhead(evidence: Evidence) -> Verdict:
    """Time to the accuracy that the learned metric has at ten: with the best scalars over with the learned metric."""
    faster, told, batch = [], [], 0.0
    for name in FAMILIES:
        costs = evidence.table(f"20_metric_{name}_cost").set_index("method").astype(float)
        batch = costs["batch"].max()
        part = costs[costs["batch"] == batch]
        level = _error(evidence, name, LEARNED)
        curve = evidence.curves(f"20_metric_{name}", name.replace("_", " ")).column("DR tuned", "error")
        below = curve <= level
        steps = int(below.idxmax()) if below.any() else int(curve.index.max())
        spent = [part.loc[m, "setup"] + k * part.loc[m, "iteration"] for m, k in ((LEARNED, 10), ("DR tuned", steps))]
        faster.append(spent[1] / spent[0])
        least = "" if below.any() else "at least "
        told.append(f"{name.replace('_', ' ')} {least}{faster[-1]:.2g}")
    return verdict(
        f"times faster than the best scalars, batch of {batch:.0f}: {', '.join(told)}", bool(min(faster) > 1)
    )


def _each(evidence: Evidence) -> Verdict:
    """A metric for each instance against one trained for all, at the iteration they are trained for and at 30."""
    told, ahead = [], []
    for name in FAMILIES:
        asked = ((10, "mean"), (10, "median"), (30, "mean"))
        factors = [_error(evidence, name, CONSTANT, *case) / _error(evidence, name, LEARNED, *case) for case in asked]
        ahead.append(factors[0])
        told.append(f"{name.replace('_', ' ')} {' / '.join(f'{factor:.2g}' for factor in factors)}")
    return verdict(f"times below one metric for all at 10 / median at 10 / at 30: {', '.join(told)}", min(ahead) > 1)


def _on_top(evidence: Evidence) -> Verdict:
    """A network on top of one metric trained for all, against that metric alone, at the same iterations."""
    told, ahead = [], []
    for name in FAMILIES:
        wanted = ("at 10", "median at 10", "at 30")
        refined = evidence.numbers(f"20_metric_{name}_losses", "on top of", "one for all", wanted)
        alone = evidence.numbers(f"20_metric_{name}", "method", CONSTANT, wanted)
        factors = [one / other for one, other in zip(alone, refined, strict=True)]
        ahead.append(factors[0])
        told.append(f"{name.replace('_', ' ')} {' / '.join(f'{factor:.2g}' for factor in factors)}")
    return verdict(f"times below that metric alone at 10 / median at 10 / at 30: {', '.join(told)}", min(ahead) > 1)


def _scs(evidence: Evidence) -> Verdict:
    factors = {}
    for problem in ("lasso", "kalman"):
        curves = evidence.curves(f"22_scs_metric_{problem}")
        factors[problem] = min(
            curves.m("SCS tuned", name, 20) / curves.m("SCS learned metric", name, 20)
            for name in ("primal", "dual", "gap")
        )
    told = ", ".join(f"{name} {factor:.2g}" for name, factor in factors.items())
    return verdict(f"times below SCS tuned at 20, least of primal, dual, gap: {told}", min(factors.values()) > 1)


def _on_top_of_scs(evidence: Evidence) -> Verdict:
    """The same for SCS, in the mean worst of primal residual, dual residual and gap."""
    told, least = [], []
    for problem in ("lasso", "kalman"):
        run = f"22_scs_metric_{problem}"
        wanted = ("at 20", "at 50")
        alone = evidence.numbers(run, "method", "SCS constant metric", wanted)
        refined = evidence.numbers(f"{run}_variants", "variant", "learned metric on the constant one", wanted)
        factors = [one / other for one, other in zip(alone, refined, strict=True)]
        least.append(min(factors))
        told.append(f"{problem} {factors[0]:.2g} / {factors[1]:.2g}")
    return verdict(f"times below that metric alone at 20 / 50: {', '.join(told)}", min(least) > 1)


_SOURCE = "King et al. 2024"

CLAIMS = (
    Claim(
        "M1",
        _SOURCE,
        "Toy: error at 10 at least 100 times below identity, below the best scalars",
        "2.4e-8",
        _better("toy", "2.4e-8"),
    ),
    Claim(
        "M2",
        _SOURCE,
        "Portfolio 20: error at 10 at least 100 times below identity, below the best scalars",
        "8.7e-9",
        _better("portfolio_20", "8.7e-9"),
    ),
    Claim(
        "M3",
        _SOURCE,
        "Portfolio 100: error at 10 at least 100 times below identity, below the best scalars",
        "1.3e-7",
        _better("portfolio_100", "1.3e-7"),
    ),
    Claim(
        "M4",
        _SOURCE,
        "Quadcopter: error at 10 at least 100 times below identity, below the best scalars",
        "not given",
        _better("quadcopter", "not given"),
    ),
    Claim(
        "M5",
        _SOURCE,
        "Identity metric on portfolio 20 at 5 / 10 / 20, within a factor of 10",
        "1.2e-3 / 1.8e-4 / 4.1e-6",
        _identity,
    ),
    Claim("M6", _SOURCE, "Faster than the theoretically best constant metric", "yes", _limits),
    Claim("M7", _SOURCE, "The learned metric knows the active set (AUC over 0.9)", "strong connection", _active_set),
    Claim("M8", _SOURCE, "Particularly effective with many inequalities per variable", "yes", _many),
    Claim("M9", _SOURCE, "To check: it converges outside the training distribution", "not shown", _shifted),
    Claim("M10", _SOURCE, "To check: the metric pays in time, too", "not shown", _overhead),
    Claim(
        "M15",
        _SOURCE,
        "To check: in high dimension with many active constraints it is ahead of the best scalars",
        "unclear",
        _high_dimension,
    ),
    Claim(
        "M11", "ours", "Beyond quadratic programs: a learned metric on SCS is ahead of tuned scalars", "not shown", _scs
    ),
    Claim("M12", "ours", "A metric for each instance is better, at ten, than one trained for all", "not shown", _each),
    Claim(
        "M13", "ours", "On top of one metric trained for all, a network lowers the error at ten", "not shown", _on_top
    ),
    Claim("M14", "ours", "SCS: on top of one metric for all, a network is ahead of it", "not shown", _on_top_of_scs),
)
