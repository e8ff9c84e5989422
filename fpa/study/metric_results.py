"""Learned metrics and tuned scalars, kept or found; what they cost, and where they gain."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

import fpa
from fpa.study import metrics, models
from fpa.study.metric_plots import BASELINES
from fpa.study.schedules import ConstantRecipe
from fpa.study.session import Run


def trained(here: Run, variant: str, data: metrics.TrainingSet, recipe: metrics.Recipe) -> list[fpa.Solver]:
    """Models of a family, kept or trained; `variant` tells their file from others of the run."""
    config = data.describe() | {"recipe": vars(recipe)}
    train = functools.partial(metrics.train, data, recipe)
    solvers, history = models.trained(here, data.distribution, train, config, "fpa.study.metrics", f"_{variant}")
    first, last = (np.mean(history["losses"][k]) for k in (0, -1))
    print(f"{variant}: {len(solvers)} models, logarithm of the loss {first:.2f} at first, {last:.2f} at last")
    return solvers


def constant(here: Run, data: metrics.TrainingSet, best: Mapping[str, float], schedule: ConstantRecipe) -> fpa.Solver:
    """The scalars `best`, trained on to one metric for the whole family; kept or trained."""
    config = data.describe() | {"recipe": vars(schedule), "scalars": dict(best)}
    train = functools.partial(metrics.train_constant, data, best, schedule)
    (solver,), _ = models.trained(here, data.distribution, train, config, "fpa.study.metrics", "_constant")
    return solver


def refined(
    here: Run,
    data: metrics.TrainingSet,
    best: Mapping[str, float],
    schedule: ConstantRecipe,
    recipe: metrics.Recipe,
) -> list[fpa.Solver]:
    """Models that go on where `constant(here, data, best, schedule)` ends: a network's weights multiply its own."""
    base: Any = constant(here, data, best, schedule).splitting
    config = data.describe() | {"recipe": vars(recipe), "schedule": vars(schedule), "scalars": dict(best)}
    train = functools.partial(metrics.train, data, recipe, splitting=base)
    return models.trained(here, data.distribution, train, config, "fpa.study.metrics", "_refined")[0]


def weights_by_cone(solver: fpa.Solver, distribution: fpa.AbstractConeDistribution, seed: int) -> pd.DataFrame:
    """The weights of rows on a "tune" instance: median and quantiles over the rows of every kind of cone."""
    parameters = fpa.sample_batch(distribution, fpa.role_key(seed, "tune"), 1)
    program: Any = distribution.program({name: value[0] for name, value in parameters.items()})
    splitting: Any = solver.splitting
    weights, cones = np.asarray(splitting.metric(program)[1]), program.cone.cones
    kinds = [f"{type(cone).__name__}({cone.dim})" for cone in cones]
    rows = np.repeat(kinds, [cone.dim for cone in cones])
    found = pd.DataFrame({"cone": rows, "weight": weights}).groupby("cone", sort=False)["weight"]
    return found.quantile([0.1, 0.5, 0.9]).unstack().assign(rows=found.size())


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
    for word in BASELINES:
        table[f"gain over {word}"] = table[word] / table["learned"]
    return table


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of the gains with the number of inequalities per variable, and with n."""
    from scipy.stats import spearmanr  # slow to import, and not always asked for

    rows = []
    for word in BASELINES:
        for feature in ("ratio", "n"):
            found: Any = spearmanr(table[f"gain over {word}"], table[feature])
            rows.append({"gain over": word, "feature": feature, "rho": found.statistic, "p": found.pvalue})
    return pd.DataFrame(rows)
