"""Learned metrics and tuned scalars, kept or found; what they cost, and where they gain."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import fpa
from fpa.study import metrics, models
from fpa.study.cost import cost
from fpa.study.session import Run


def trained(
    here: Run, variant: str, distribution: fpa.AbstractConeDistribution, recipe: metrics.Recipe, seed: int
) -> list[fpa.Solver]:
    """Models of a family, kept or trained; `variant` tells their file from others of the run."""
    config = {"family": fpa.describe(distribution), "seed": seed, "recipe": vars(recipe)}
    train = functools.partial(metrics.train, distribution, recipe, seed)
    solvers, history = kept(here, distribution, train, config, "fpa.study.metrics", f"_{variant}")
    first, last = (np.mean(history["losses"][k]) for k in (0, -1))
    print(f"{variant}: {len(solvers)} models, logarithm of the loss {first:.2f} at first, {last:.2f} at last")
    return solvers


def kept(
    here: Run,
    distribution: fpa.AbstractConeDistribution,
    train: Callable[[Path], tuple[fpa.Solver, dict[str, Any]]],
    config: Mapping[str, Any],
    code: str,
    part: str = "",
) -> tuple[list[fpa.Solver], dict[str, Any]]:
    """`models.trained` for ensembles whose accelerator has no numbers: what they have learned is in the splitting."""

    def make(path: Path, key: str, checkpoint: Path) -> None:
        begun = time.monotonic()
        ensemble, history = train(checkpoint)
        note = {"key": key, "made_s": round(time.monotonic() - begun, 1), **history}
        fpa.save(path, ensemble, distribution, note)

    note_of = lambda path: fpa.read_header(path)["note"]  # noqa: E731
    path = models._published(f"{part}.npz", here, config, [code], make, note_of)
    ensemble = fpa.load(path)
    return [fpa.member(ensemble, index) for index in range(fpa.num_models(ensemble))], note_of(path)


def best_scalars(
    here: Run, distribution: fpa.AbstractConeDistribution, steps: int, seed: int, num_instances: int
) -> dict[str, float]:
    """The tuned constants of a family, kept or found."""
    config = {"family": fpa.describe(distribution), "steps": steps, "seed": seed, "num_instances": num_instances}
    compute = lambda: metrics.tuned(distribution, steps, seed, num_instances)  # noqa: E731
    return models.recorded(here, compute, config, ["fpa.study.metrics"], "_tuned")


def costs(
    family: fpa.AbstractConeDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    seed: int,
    num_steps: int,
    sizes: Sequence[int],
) -> pd.DataFrame:
    """Milliseconds per instance: before the first iteration (`setup`) and for each (`iteration`), from two lengths.

    The oracle is left out: finding its active set is the problem itself.
    """
    timed = {method: several for method, several in methods.items() if method != "DR oracle metric"}
    key = fpa.role_key(seed, "test")
    short, long = (
        cost(family, timed, key, length, sizes).set_index(["method", "batch"])["ms per instance"]
        for length in (1, num_steps)
    )
    each = ((long - short) / (num_steps - 1)).clip(lower=0)
    return pd.DataFrame({"setup": (short - each).clip(lower=0), "iteration": each}).reset_index()


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
