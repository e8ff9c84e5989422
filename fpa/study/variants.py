"""From Lasso to Kalman filtering: the small families of Section 6 and Appendix C, and how models are trained on them.

A variant is a figure of the paper, its panels are families. Where the paper fixes something (a source matrix, a
solution, the noise) a panel has as many *datasets*, each with a fixed part and a model of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

import fpa
from fpa.study import staged
from fpa.study.families import Family
from fpa.training import stack

Build = Callable[[PRNGKeyArray], fpa.AbstractConeDistribution]

# On these families, batched, faster than acceleration, whose least squares cost more than the iterations they save.
_REFERENCE = fpa.Solver(fpa.SCS(scale=2.0, zero_scale=1000.0, relaxation=1.8))
_FIRST_DATASET = 100


@dataclass(frozen=True)
class Panel:
    """A family: `build(key)` makes it, drawing from `key` what is `fixed`, if anything is."""

    build: Build
    fixed: bool = True

    def distributions(self, seed: int, datasets: int) -> list[fpa.AbstractConeDistribution]:
        """One distribution per dataset; where nothing is fixed there is only one. No instance shares their keys."""
        keys = [jax.random.fold_in(jax.random.key(seed), _FIRST_DATASET + i) for i in range(datasets)]
        return [self.build(key) for key in (keys if self.fixed else keys[:1])]


@dataclass(frozen=True)
class Variant:
    """A figure of the paper: its title, and its panels by name."""

    title: str
    panels: Mapping[str, Panel]

    def distributions(self, seed: int, datasets: int) -> dict[str, list[fpa.AbstractConeDistribution]]:
        """The distributions of each panel, one per dataset."""
        return {name: panel.distributions(seed, datasets) for name, panel in self.panels.items()}


def train(
    panel: Panel, recipe: staged.Recipe, datasets: int, seed: int, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble with `recipe.seeds` models per dataset, dataset by dataset, and the loss that ended each stage."""
    models, losses = [], []
    for index, distribution in enumerate(panel.distributions(seed, datasets)):
        kept = checkpoint.with_name(f"{checkpoint.stem}-{index}{checkpoint.suffix}")
        solvers, ends = staged.train(family_of(distribution), distribution, recipe, seed, kept)
        models += [solver.accelerator for solver in solvers]
        losses.append(ends)
    return fpa.Solver(fpa.SCS(), stack(models)), {"losses": np.mean(losses, axis=0).round(6).tolist()}


def family_of(distribution: fpa.AbstractConeDistribution) -> Family:
    """How networks see it: features and observations share weights where F varies, and nothing is shared otherwise."""
    if "F" not in distribution.canonical.shapes:
        return Family("Small Lasso", lambda: distribution, list, (False,), _REFERENCE, 1.0)
    q, p = distribution.canonical.shapes["F"]
    labels: list[Mapping[str, np.ndarray]] = [{"z": np.arange(p)}, {"g": np.arange(q)}]
    return Family("Small Lasso", lambda: distribution, lambda: labels, (False, False, False), _REFERENCE, 1.0)


def _lasso(density: float = 0.1, noise: float = 0.1) -> Panel:
    return Panel(lambda key: fpa.Lasso(10, 20, density, noise), fixed=False)


def _fixed(part: str, q: int = 20) -> Panel:
    return Panel(lambda key: fpa.FixedLasso.draw(fpa.Lasso(10, q), key, part))


def _dynamic(steps: int, density: float = 0.1) -> Panel:
    return Panel(lambda key: fpa.DynamicLasso(jax.random.normal(key, (20, 10)), steps, density))


VARIANTS: Mapping[str, Variant] = {
    "original": Variant("Small Lasso (Figure 3)", {"p = 10, q = 20": _lasso()}),
    "fixed_source": Variant("Fixed source matrix (Figure 4)", {"q = 20": _fixed("F")}),
    "reduced_noise": Variant(
        "Reduced noise (Figure 5)",
        {"sigma = 1e-2": _lasso(noise=1e-2), "sigma = 1e-3": _lasso(noise=1e-3), "sigma = 1e-4": _lasso(noise=1e-4)},
    ),
    "more_observations": Variant(
        "Fixed source, more observations (Figure 6)", {"q = 40": _fixed("F", 40), "q = 60": _fixed("F", 60)}
    ),
    "dynamic": Variant("Dynamic Lasso (Figure 7)", {"2 steps": _dynamic(2), "3 steps": _dynamic(3)}),
    "dynamic_dense": Variant(
        "Dynamic Lasso, density 0.5 (Figure 8)", {"2 steps": _dynamic(2, 0.5), "3 steps": _dynamic(3, 0.5)}
    ),
    "density": Variant(
        "Small Lasso, denser solutions (Figure 10)",
        {"density 0.3": _lasso(density=0.3), "density 0.5": _lasso(density=0.5)},
    ),
    "fixed_parts": Variant(
        "Fixed noise, fixed solution (Figure 11)", {"fixed noise": _fixed("w"), "fixed solution": _fixed("z")}
    ),
}
