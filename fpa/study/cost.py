"""What learned acceleration costs: time per instance, networks included, and residuals over time."""

import time
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

import fpa
from fpa.study.plotting import METHODS, METRICS


def cost(
    distribution: fpa.AbstractDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_steps: int,
    batch: int,
    rounds: int = 3,
) -> pd.DataFrame:
    """Milliseconds per instance of `num_steps` iterations, alone and in a batch, the median of rounds in turn."""
    batches = {size: fpa.sample_batch(distribution, key, size) for size in (1, batch)}
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds + 1):  # the first one compiles
        for name, solvers in methods.items():
            for size, parameters in batches.items():
                begun = time.perf_counter()
                jax.block_until_ready(_end(solvers[0], distribution, parameters, num_steps))
                if turn:
                    seconds.setdefault((name, size), []).append(time.perf_counter() - begun)
    rows = [(name, size, 1e3 * float(np.median(taken)) / size) for (name, size), taken in seconds.items()]
    return pd.DataFrame(rows, columns=["method", "batch", "ms per instance"])


@eqx.filter_jit
def _end(solver, distribution, parameters, num_steps):
    """The points after `num_steps` iterations, in chunks that fit the caches."""

    def one(parameters):
        op = solver.splitting.bind(distribution.program(parameters))
        z, state = solver.accelerator.init(op)
        z, _, _ = solver.run(op, z, state, 0, num_steps, lambda op, z, fz, point: None)
        return op.certificate(z).x

    return jax.lax.map(one, parameters, batch_size=100)


def elapsed(total: float, plain: float, boundaries: Sequence[int], num_steps: int) -> np.ndarray:
    """When iterations 1, ..., `num_steps` are done: the last one after `total`, or after `plain` without networks.

    What a method takes beyond plain iteration is spent in equal parts: before the first iteration and at its
    boundaries, or, for a method without any, in every iteration. A method as fast as plain iteration, or measured to
    be faster, spends the same time in every iteration.
    """
    plain = min(plain, total)
    iterations = np.arange(1, num_steps + 1)
    calls = np.array([0, *(b for b in boundaries if b < num_steps)]) if boundaries else iterations - 1
    share = (calls[None] < iterations[:, None]).mean(axis=1)
    return plain * iterations / num_steps + (total - plain) * share


def draw_cost(
    table: pd.DataFrame,
    frame: pd.DataFrame,
    methods: Mapping[str, Sequence[fpa.Solver]],
    num_steps: int,
    title: str,
    metrics: Sequence[str] = ("primal", "dual"),
) -> Figure:
    """Mean residuals over milliseconds per instance: a line per batch size, a column per metric."""
    sizes = list(table["batch"].unique())
    shape = (len(sizes), len(metrics))
    size = (3.6 * len(metrics), 2.6 * len(sizes) + 0.6)
    figure, grid = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    milliseconds = table.set_index(["method", "batch"])["ms per instance"]
    for row, batch in zip(grid, sizes, strict=True):
        for axes, metric in zip(row, metrics, strict=True):
            for name, solvers in methods.items():
                curve = frame[(frame["method"] == name) & (frame["metric"] == metric)].head(num_steps)
                total, plain = milliseconds[name, batch], milliseconds["SCS", batch]
                spent = elapsed(total, plain, solvers[0].accelerator.boundaries, num_steps)
                look = METHODS[name]
                axes.plot(spent[: len(curve)], curve["mean"], label=name, color=look.color, linestyle=look.line)
            axes.set_yscale("log")
            axes.set_ylim(top=min(axes.get_ylim()[1], 20))
            axes.set_xlabel("milliseconds per instance")
            axes.set_ylabel(METRICS[metric].definition)
            axes.set_title(f"{METRICS[metric].title}, {'one at a time' if batch == 1 else f'batch of {batch}'}")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure
