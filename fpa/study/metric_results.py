"""Learned metrics and tuned scalars, kept or found; what they cost, and where they gain."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import fpa
from fpa.study import metrics, models
from fpa.study.session import Run


def trained(
    here: Run, variant: str, distribution: fpa.AbstractConeDistribution, recipe: metrics.Recipe, seed: int
) -> list[fpa.Solver]:
    """Models of a family, kept or trained; `variant` tells their file from others of the run."""
    config = {"family": fpa.describe(distribution), "seed": seed, "recipe": vars(recipe)}
    train = functools.partial(metrics.train, distribution, recipe, seed)
    solvers, history = models.trained(here, distribution, train, config, "fpa.study.metrics", f"_{variant}")
    first, last = (np.mean(history["losses"][k]) for k in (0, -1))
    print(f"{variant}: {len(solvers)} models, logarithm of the loss {first:.2f} at first, {last:.2f} at last")
    return solvers


def constant(
    here: Run,
    distribution: fpa.AbstractConeDistribution,
    best: Mapping[str, float],
    recipe: metrics.ConstantRecipe,
    seed: int,
) -> fpa.Solver:
    """The scalars `best`, trained on to one metric for the whole family; kept or trained."""
    config = {"family": fpa.describe(distribution), "seed": seed, "recipe": vars(recipe), "scalars": dict(best)}
    train = functools.partial(metrics.train_constant, distribution, best, recipe, seed)
    (solver,), _ = models.trained(here, distribution, train, config, "fpa.study.metrics", "_constant")
    return solver


def best_scalars(
    here: Run, distribution: fpa.AbstractConeDistribution, steps: int, seed: int, num_instances: int
) -> dict[str, float]:
    """The tuned constants of a family, kept or found."""
    config = {"family": fpa.describe(distribution), "steps": steps, "seed": seed, "num_instances": num_instances}
    compute = lambda: metrics.tuned(distribution, steps, seed, num_instances)  # noqa: E731
    return models.recorded(here, compute, config, ["fpa.study.metrics"], "_tuned")


def gains(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row per size, with how many times smaller the learned metric's error is than the others'."""
    table = pd.DataFrame(rows)
    for word in ("identity", "tuned"):
        table[f"gain over {word}"] = table[word] / table["learned"]
    return table


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of the gains with the number of inequalities per variable, and with n."""
    rows = []
    for word in ("identity", "tuned"):
        for feature in ("ratio", "n"):
            found: Any = spearmanr(table[f"gain over {word}"], table[feature])
            rows.append({"gain over": word, "feature": feature, "rho": found.statistic, "p": found.pvalue})
    return pd.DataFrame(rows)


def worst(curves: fpa.Curves, iterations: Sequence[int]) -> dict[str, float]:
    """The mean over instances and models of the worst of primal residual, dual residual and gap, after iterations."""
    largest = np.maximum.reduce([curves.values[name] for name in ("primal", "dual", "gap")]).mean(axis=(0, 1))
    return {f"at {k}": float(largest[k - 1]) for k in iterations}
