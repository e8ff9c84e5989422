"""The methods that everything learned is compared with."""

import numpy as np

import fpa
from fpa.study.plotting import comparable
from fpa.study.store import cached
from fpa.tuning import CANDIDATES


def tuned(name: str, distribution: fpa.AbstractDistribution, seed: int, num_instances: int, sweeps: int) -> fpa.SCS:
    """`fpa.tune` for the family `name`, from the store where it is there."""
    config = {"distribution": repr(distribution), "seed": seed, "num_instances": num_instances, "sweeps": sweeps}

    def compute() -> dict[str, float]:
        key = fpa.role_key(seed, "tune")
        best = fpa.tune(fpa.SCS(), distribution, key, num_instances=num_instances, sweeps=sweeps)
        return {scalar: float(getattr(best, scalar)) for scalar in CANDIDATES}

    code = ("fpa.tuning", type(distribution).__module__)
    return fpa.SCS(**cached(f"tuned/{name}", compute, config=config, code=[c for c in code if c.startswith("fpa")]))


def baselines(tuned_splitting: fpa.SCS) -> dict[str, fpa.Solver]:
    """SCS, with Anderson acceleration as in the paper (type I, memory 5, no safeguard), with a better one, and tuned.

    The better one is of type II with memory 10: on the Lasso it is ahead of the paper's at every iteration, so that it
    is the Anderson acceleration that a learned one has to beat.
    """
    return {
        "SCS": fpa.Solver(fpa.SCS(), fpa.Picard()),
        "SCS+AA": fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=5)),
        "SCS+AA-II": fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=10, kind="II")),
        "SCS tuned": fpa.Solver(tuned_splitting, fpa.Picard()),
    }


def reading(name: str, curves: fpa.Curves, level: float) -> dict[str, object]:
    """Where a method's mean fixed-point residual crosses `level`, and its mean worst KKT residual at 50 and the end.

    The crossing is 0 if there is none, and absent for a method that iterates another map.
    """
    worst = np.maximum.reduce([curves.values[metric] for metric in ("primal", "dual", "gap")]).mean(axis=(0, 1))
    crossing = int(fpa.iterations_to(curves.mean("fixed_point"), level))
    return {
        f"iterations to {level:g}": crossing if comparable("fixed_point", name) else None,
        "worst at 50": worst[49],
        f"worst at {worst.size}": worst[-1],
    }


def share_with_point(distribution: fpa.AbstractDistribution, seed: int, num_steps: int) -> float:
    """The share of 25 instances whose tau has left 0 after `num_steps` iterations *without* equilibration."""
    solver = fpa.Solver(fpa.SCS(equilibrate=False))
    curves = fpa.evaluate(solver, distribution, fpa.role_key(seed, "test"), 25, num_steps)
    return float(curves.valid[0, :, -1].mean())
