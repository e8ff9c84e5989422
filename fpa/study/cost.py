"""What learned acceleration costs: time per instance, networks included, and residuals over time."""

import functools
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure

import fpa
from fpa.study.plotting import METHODS, METRICS, limit_height

_MANY = 500
_CHUNK = inspect.signature(fpa.evaluate).parameters["chunk"].default


def cost(
    distribution: fpa.AbstractDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_steps: int,
    sizes: Sequence[int],
    rounds: int = 20,
    patience: float = 2.0,
) -> pd.DataFrame:
    """Milliseconds per instance in batches of each size, compiled before: a row per size and method.

    `setup` passes before the first iteration, `iteration` is one of the method, or, where networks are asked at some
    iterations only, one in between; `ms per instance` is all of `num_steps`, networks included. Differences magnify
    what disturbs the machine, so they are taken between the shortest of up to `rounds` rounds, over more iterations
    where the batch is small; a call that has taken `patience` seconds sits the others out.
    """
    rows = []
    for size in sizes:
        batch, many = instances(distribution, key, size), max(num_steps, _MANY // size)
        calls: dict[tuple[str, str], Callable[[], Any]] = {}
        for name, solvers in methods.items():
            solver = _traced(solvers[0])
            between = fpa.Solver(solver.splitting) if solver.accelerator.boundaries else solver
            for case, count in {"setup": 0, "many": many}.items():
                calls[name, case] = functools.partial(_any_number, between, distribution, batch, jnp.int32(count))
            if solver.accelerator.boundaries:
                calls[name, "all"] = functools.partial(_iterates, solver, distribution, batch, num_steps)
        shortest = {case: 1e3 * seconds / size for case, seconds in _shortest(calls, rounds, patience).items()}
        for name in methods:
            setup = min(shortest[name, "setup"], shortest[name, "many"])
            iteration = (shortest[name, "many"] - setup) / many
            plain = setup + num_steps * iteration
            rows.append((name, size, setup, iteration, max(plain, shortest.get((name, "all"), plain))))
    return pd.DataFrame(rows, columns=["method", "batch", "setup", "iteration", "ms per instance"])


def instances(distribution: fpa.AbstractDistribution, key: PRNGKeyArray, num_instances: int) -> dict[str, Array]:
    """The first of the instances that `fpa.evaluate` draws from `key`, in one batch."""
    batches = fpa.stream(distribution, key, -(-num_instances // _CHUNK) * _CHUNK, _CHUNK)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:num_instances], *batches)


def _traced(solver: fpa.Solver) -> fpa.Solver:
    """The solver with its numbers as arrays: those that differ in numbers alone are compiled once."""
    return jax.tree.map(jnp.asarray, solver)


def _shortest(calls: Mapping[Any, Callable[[], Any]], rounds: int, patience: float) -> dict[Any, float]:
    """The fewest seconds of every call in up to `rounds` rounds, after one that is not counted.

    One that has taken `patience` seconds sits the others out.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[Any, list[float]] = {case: [] for case in calls}
    for _ in range(rounds):
        for case, call in calls.items():
            if sum(seconds[case]) < patience:
                begun = time.perf_counter()
                jax.block_until_ready(call())
                seconds[case].append(time.perf_counter() - begun)
    return {case: min(taken) for case, taken in seconds.items()}


@eqx.filter_jit
def _iterates(solver, distribution, parameters, num_steps):
    """The iterates after `num_steps` iterations, in chunks that fit the caches."""

    def one(parameters):
        op = solver.splitting.bind(distribution.program(parameters))
        z, state = solver.accelerator.init(op)
        return solver.run(op, z, state, 0, num_steps, lambda op, z, fz, point: None)[0]

    return jax.lax.map(one, parameters, batch_size=100)


@eqx.filter_jit
def _any_number(solver, distribution, parameters, count):
    """The iterates after `count` iterations, a number that is not compiled in, of a method without boundaries."""

    def one(parameters):
        op = solver.splitting.bind(distribution.program(parameters))
        step = lambda _, carry: solver.accelerator.step(op, *carry)[:2]  # noqa: E731
        return jax.lax.fori_loop(0, count, step, solver.accelerator.init(op))[0]

    return jax.lax.map(one, parameters, batch_size=100)


def elapsed(setup: float, iteration: float, total: float, boundaries: Sequence[int], num_steps: int) -> np.ndarray:
    """When iterations 1, ..., `num_steps` are done: each takes `iteration` after `setup`, and the last ends at `total`.

    What is left for networks is spent in equal parts, before the first iteration and at the boundaries.
    """
    iterations = np.arange(1, num_steps + 1)
    calls = np.array([0, *(b for b in boundaries if b < num_steps)])
    share = (calls[None] < iterations[:, None]).mean(axis=1)
    return setup + iteration * iterations + (total - setup - iteration * num_steps) * share


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
    measured = table.set_index(["method", "batch"])
    for row, batch in zip(grid, sizes, strict=True):
        for axes, metric in zip(row, metrics, strict=True):
            for name, solvers in methods.items():
                curve = frame[(frame["method"] == name) & (frame["metric"] == metric)].head(num_steps)
                setup, iteration, total = measured.loc[(name, batch)]
                spent = elapsed(setup, iteration, total, solvers[0].accelerator.boundaries, num_steps)
                look = METHODS[name]
                axes.plot(spent[: len(curve)], curve["mean"], label=name, color=look.color, linestyle=look.line)
            axes.set_yscale("log")
            limit_height(axes)
            axes.set_xlabel("milliseconds per instance")
            axes.set_ylabel(METRICS[metric].definition)
            axes.set_title(f"{METRICS[metric].title}, {'one at a time' if batch == 1 else f'batch of {batch}'}")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure
