"""One step from the small Lasso towards Kalman filtering: models for every panel of a variant, and their curves.

Everything goes dataset by dataset: a dataset has a distribution, models trained on it, and scalars tuned on it.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
import pandas as pd

import fpa
from fpa.study import baselines, gains, models, plotting, staged, variants
from fpa.study.session import Run

Families = Mapping[str, Sequence[fpa.AbstractConeDistribution]]
Models = Mapping[str, Sequence[Sequence[fpa.Solver]]]


def describe(distribution: fpa.AbstractConeDistribution) -> str:
    """What varies in a family, and its sizes."""
    canonical = distribution.canonical
    varying = ", ".join(f"{parameter} {shape}" for parameter, shape in canonical.shapes.items())
    return f"n = {canonical.c.base.size}, m = {canonical.b.base.size}, varying: {varying}"


def trained(here: Run, variant: str, families: Families, recipe: staged.Recipe, datasets: int, seed: int) -> Models:
    """For each panel and dataset the trained models: several where nothing is fixed, else one for each dataset.

    `families` are the variant's distributions, a list of datasets per panel.
    """
    found = {}
    for index, (name, panel) in enumerate(variants.VARIANTS[variant].panels.items()):
        chosen = recipe.with_seeds(1) if panel.fixed else recipe
        config = {"variant": variant, "panel": name, "datasets": datasets, "seed": seed, "recipe": vars(chosen)}

        def train(checkpoint, panel=panel, chosen=chosen):
            return variants.train(panel, chosen, datasets, seed, checkpoint)

        flat, history = models.trained(here, families[name][0], train, config, "fpa.study.variants", f"_{index}")
        found[name] = [flat[i : i + chosen.seeds] for i in range(0, len(flat), chosen.seeds)]
        ends = ", ".join(f"{loss:.2g}" for loss in history["losses"])
        print(f"{name}: {len(flat)} models of {_count(flat[0]):,} numbers; loss at the end of each stage: {ends}")
    return found


def curves(
    here: Run,
    families: Families,
    learned: Models,
    seed: int,
    num_instances: int,
    num_steps: int,
    tune_instances: int,
    sweeps: int,
) -> pd.DataFrame:
    """The data of the figure: a panel for each family, with curves of the baselines and of the `learned` models."""
    every = [distribution for distributions in families.values() for distribution in distributions]
    tuned = iter(baselines.tuned(here, every, seed, tune_instances, sweeps))
    key = fpa.role_key(seed, "test")
    frames = []
    for name, distributions in families.items():
        plain = baselines.baselines(fpa.SCS())
        methods: dict[str, Sequence[Sequence[fpa.Solver]]] = {
            **{method: [solvers] * len(distributions) for method, solvers in plain.items()},
            "SCS tuned": [[fpa.Solver(next(tuned))] for _ in distributions],
            "SCS+Neural-MLP": learned[name],
        }
        found = {
            method: gains.evaluate(distributions, several, key, num_instances, num_steps, f"{name}: {method}")
            for method, several in methods.items()
        }
        frames.append(plotting.frames(here.name, name, found))
    return pd.concat(frames, ignore_index=True)


def _count(solver: fpa.Solver) -> int:
    leaves = jax.tree.leaves(solver.accelerator)
    return sum(leaf.size for leaf in leaves if np.issubdtype(leaf.dtype, np.floating))
