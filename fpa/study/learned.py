"""What is shown of learned accelerators besides residuals: their safe composition, and their iterates."""

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

import fpa
from fpa.study.cost import instances
from fpa.study.plotting import METHODS

AFTER = 25
_COORDINATES = 5


def composed(solver: fpa.Solver) -> fpa.Solver:
    """The learned accelerator for 25 iterations, then Anderson acceleration, all of it safeguarded."""
    late = fpa.AndersonAcceleration(memory=10, kind="II")
    return fpa.Solver(solver.splitting, fpa.Safeguarded(fpa.Switch(solver.accelerator, AFTER, late)))


def paths(
    distribution: fpa.AbstractConeDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_steps: int,
) -> pd.DataFrame:
    """Coordinates of x over the iterations on the first test instance, a row per method, iteration and coordinate.

    The coordinates are every second one of the ten in which the solution is largest.
    """
    program = distribution.program(jax.tree.map(lambda leaf: leaf[0], instances(distribution, key, 1)))
    solution = np.asarray(fpa.Solver(accelerator=fpa.AndersonAcceleration(10, "II")).solve(program, tol=1e-8).point.x)
    order = np.argsort(-np.abs(solution))
    chosen = order[: 2 * _COORDINATES : 2]
    rows = []
    for name, solvers in methods.items():
        x = np.asarray(_points(solvers[0], program, num_steps))[:, chosen]
        for k, values in enumerate(x):
            rows += [
                {"method": name, "iteration": k + 1, "coordinate": int(c), "value": v, "solution": solution[c]}
                for c, v in zip(chosen, values, strict=True)
            ]
    return pd.DataFrame(rows)


@eqx.filter_jit
def _points(solver, program, num_steps):
    op = solver.splitting.bind(program)
    z, state = solver.accelerator.init(op)
    return solver.run(op, z, state, 0, num_steps, lambda op, z, fz, point: point.x)[2]


def draw_paths(frame: pd.DataFrame, title: str) -> Figure:
    """One panel per method: coordinates in colour, the solution dotted."""
    names = [name for name in METHODS if name in set(frame["method"])]
    figure, grid = plt.subplots(1, len(names), figsize=(2.4 * len(names), 2.6), sharey=True, layout="constrained")
    for axes, name in zip(np.atleast_1d(grid), names, strict=True):
        for index, (_, line) in enumerate(frame[frame["method"] == name].groupby("coordinate")):
            axes.plot(line["iteration"], line["value"], color=f"C{index}", linewidth=1.3)
            axes.axhline(line["solution"].iloc[0], color=f"C{index}", linestyle=":", linewidth=0.9)
        axes.set_title(name, color=METHODS[name].color)
        axes.set_xlabel("iteration")
    span = np.ptp(frame["solution"])
    np.atleast_1d(grid)[0].set_ylim(frame["solution"].min() - 0.5 * span, frame["solution"].max() + 0.5 * span)
    np.atleast_1d(grid)[0].set_ylabel(r"$x_i / \tau$ (dotted: solution)")
    figure.suptitle(title, fontsize=10)
    return figure
