"""The methods that everything learned is compared with."""

from collections.abc import Sequence

import fpa
from fpa.study import models, residuals
from fpa.study.plotting import comparable
from fpa.study.session import Run
from fpa.study.store import identify
from fpa.tuning import CANDIDATES


def tuned(
    here: Run, distributions: Sequence[fpa.AbstractConeDistribution], seed: int, num_instances: int, sweeps: int
) -> list[fpa.SCS]:
    """`fpa.tune` for each family; found scalars are kept and committed like a trained model."""
    kinds = [identify(distribution) for distribution in distributions]
    config = {"distributions": kinds, "seed": seed, "num_instances": num_instances, "sweeps": sweeps}
    modules = {type(distribution).__module__ for distribution in distributions}

    def compute() -> list[dict[str, float]]:
        key = fpa.role_key(seed, "tune")
        best = [fpa.tune(fpa.SCS(), each, key, num_instances=num_instances, sweeps=sweeps) for each in distributions]
        return [{scalar: float(getattr(splitting, scalar)) for scalar in CANDIDATES} for splitting in best]

    code = ["fpa.tuning", *sorted(name for name in modules if name.startswith("fpa."))]
    return [fpa.SCS(**scalars) for scalars in models.recorded(here, compute, config, code, "_tuned")]


def baselines(tuned_splitting: fpa.SCS) -> dict[str, list[fpa.Solver]]:
    """SCS, with Anderson acceleration as in the paper (type I, memory 5, no safeguard), with a better one, and tuned.

    The better one is of type II with memory 10: on the Lasso it is ahead of the paper's from the fifth iteration on, so
    that it is the Anderson acceleration that a learned one has to beat.
    """
    return {
        "SCS": [fpa.Solver(fpa.SCS(), fpa.Picard())],
        "SCS+AA": [fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=5))],
        "SCS+AA-II": [fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=10, kind="II"))],
        "SCS tuned": [fpa.Solver(tuned_splitting, fpa.Picard())],
    }


def reading(name: str, curves: fpa.Curves, level: float, at: Sequence[int]) -> dict[str, object]:
    """Where a method's mean fixed-point residual crosses `level`, and its mean worst KKT residual at iterations `at`.

    The crossing is 0 if there is none, and absent for a method that iterates another map.
    """
    crossing = int(fpa.iterations_to(curves.mean("fixed_point"), level))
    return {
        f"iterations to {level:g}": crossing if comparable("fixed_point", name) else None,
        **{f"worst {when}": value for when, value in residuals.worst(curves, at).items()},
    }


def share_with_point(distribution: fpa.AbstractConeDistribution, seed: int, num_steps: int) -> float:
    """The share of 25 instances whose tau has left 0 after `num_steps` iterations *without* equilibration."""
    solver = fpa.Solver(fpa.SCS(equilibrate=False))
    curves = fpa.evaluate(solver, distribution, fpa.role_key(seed, "test"), 25, num_steps)
    return float(curves.valid[0, :, -1].mean())
