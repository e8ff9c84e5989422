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

_CHUNK = inspect.signature(fpa.evaluate).parameters["chunk"].default


def cost(
    distribution: fpa.AbstractDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_steps: int,
    sizes: Sequence[int],
    rounds: int = 3,
    patience: float = 3.0,
) -> pd.DataFrame:
    """Milliseconds per instance of `num_steps` iterations in batches of each size, compiled before.

    `setup` is the part of it that the splitting takes before the first iteration, to factorise. Medians of up to
    `rounds` rounds in turn; a call that has taken `patience` seconds sits the others out.
    """
    batches = {size: instances(distribution, key, size) for size in sizes}
    calls: dict[tuple[str, str, int], Callable[[], Any]] = {}
    for name, solvers in methods.items():
        solver = _traced(solvers[0])
        for size, batch in batches.items():
            bound = fpa.Solver(solver.splitting), distribution, batch, jnp.int32(0)
            calls[name, "setup", size] = functools.partial(_any_number, *bound)
            calls[name, "all", size] = functools.partial(_iterates, solver, distribution, batch, num_steps)
    for call in calls.values():
        jax.block_until_ready(call())
    seconds = _seconds(calls, rounds, patience)
    ms = {case: 1e3 * float(np.median(taken)) / case[-1] for case, taken in seconds.items()}
    rows = [
        (name, size, min(ms[name, "setup", size], ms[name, "all", size]), ms[name, "all", size])
        for name in methods
        for size in sizes
    ]
    return pd.DataFrame(rows, columns=["method", "batch", "setup", "ms per instance"])


def per_iteration(
    distribution: fpa.AbstractDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_steps: int,
    sizes: Sequence[int],
    rounds: int = 20,
    patience: float = 2.0,
) -> pd.DataFrame:
    """Milliseconds per instance: before the first iteration (`setup`) and for each of `num_steps` (`iteration`).

    Differences magnify what disturbs the machine, so they are taken between the shortest of up to `rounds` rounds.
    Raises ValueError for a method whose iterations are not all alike.
    """
    for name, solvers in methods.items():
        if solvers[0].accelerator.boundaries:
            raise ValueError(f"per_iteration: {name} asks its networks at some iterations only; use `cost`.")
    rows = []
    for size in sizes:
        batch = instances(distribution, key, size)
        calls: dict[tuple[str, str], Callable[[], Any]] = {}
        for name, solvers in methods.items():
            for case, count in {"setup": 0, "all": num_steps}.items():
                arguments = _traced(solvers[0]), distribution, batch, jnp.int32(count)
                calls[name, case] = functools.partial(_any_number, *arguments)
            jax.block_until_ready(calls[name, "setup"]())
        shortest = {case: 1e3 * min(taken) / size for case, taken in _seconds(calls, rounds, patience).items()}
        for name in methods:
            setup = shortest[name, "setup"]
            rows.append((name, size, setup, (shortest[name, "all"] - setup) / num_steps))
    return pd.DataFrame(rows, columns=["method", "batch", "setup", "iteration"])


def instances(distribution: fpa.AbstractDistribution, key: PRNGKeyArray, num_instances: int) -> dict[str, Array]:
    """The first of the instances that `fpa.evaluate` draws from `key`, in one batch."""
    batches = fpa.stream(distribution, key, -(-num_instances // _CHUNK) * _CHUNK, _CHUNK)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:num_instances], *batches)


def _traced(solver: fpa.Solver) -> fpa.Solver:
    """The solver with its numbers as arrays: those that differ in numbers alone are compiled once."""
    return jax.tree.map(jnp.asarray, solver)


def _seconds(calls: Mapping[Any, Callable[[], Any]], rounds: int, patience: float) -> dict[Any, list[float]]:
    """The seconds of every call in up to `rounds` rounds; one that has taken `patience` seconds sits the others out."""
    seconds: dict[Any, list[float]] = {case: [] for case in calls}
    for _ in range(rounds):
        for case, call in calls.items():
            if sum(seconds[case]) < patience:
                begun = time.perf_counter()
                jax.block_until_ready(call())
                seconds[case].append(time.perf_counter() - begun)
    return seconds


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


def elapsed(total: float, setup: float, plain: float, boundaries: Sequence[int], num_steps: int) -> np.ndarray:
    """When iterations 1, ..., `num_steps` are done: the last one after `total`, of which `setup` comes first.

    `plain` is what as many plain iterations take without setup. What a method takes beyond is spent in equal parts:
    before the first iteration and at its boundaries, or, for a method without any, in every iteration. A method as fast
    as plain iteration, or measured to be faster, spends the same time in every iteration.
    """
    plain = min(plain, total - setup)
    iterations = np.arange(1, num_steps + 1)
    calls = np.array([0, *(b for b in boundaries if b < num_steps)]) if boundaries else iterations - 1
    share = (calls[None] < iterations[:, None]).mean(axis=1)
    return setup + plain * iterations / num_steps + (total - setup - plain) * share


def draw_cost(
    table: pd.DataFrame,
    frame: pd.DataFrame,
    methods: Mapping[str, Sequence[fpa.Solver]],
    num_steps: int,
    title: str,
    metrics: Sequence[str] = ("primal", "dual"),
    plain: str = "SCS",
) -> Figure:
    """Mean residuals over milliseconds per instance: a line per batch size, a column per metric.

    `plain` names the method whose iterations are those of all methods but for their networks.
    """
    sizes = list(table["batch"].unique())
    shape = (len(sizes), len(metrics))
    size = (3.6 * len(metrics), 2.6 * len(sizes) + 0.6)
    figure, grid = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    measured = table.set_index(["method", "batch"])
    for row, batch in zip(grid, sizes, strict=True):
        for axes, metric in zip(row, metrics, strict=True):
            for name, solvers in methods.items():
                curve = frame[(frame["method"] == name) & (frame["metric"] == metric)].head(num_steps)
                first, total = measured.loc[(name, batch)]
                steps = np.ptp(measured.loc[(plain, batch)])
                spent = elapsed(total, first, steps, solvers[0].accelerator.boundaries, num_steps)
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
