"""What learned acceleration costs: time per instance, networks included, and residuals over time."""

import functools
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
from matplotlib.ticker import LogLocator, NullFormatter

import fpa
from fpa.evaluation import CHUNK, traced
from fpa.study.compilation import thorough
from fpa.study.errors import StudyError
from fpa.study.plotting import METHODS, METRICS, add_legend, limit_height
from fpa.study.quiet import quiet

_MANY, _AT_LEAST = 500, 50


def cost(
    distribution: fpa.AbstractDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    key: PRNGKeyArray,
    num_steps: int,
    sizes: Sequence[int],
    rounds: int = 20,
    patience: float = 1.0,
) -> pd.DataFrame:
    """Milliseconds per instance in batches of each size, compiled before: a row per size and method.

    `setup` passes before the first iteration, `iteration` is one of the method, or, where networks are asked at some
    iterations only, one in between; `ms per instance` is all of `num_steps`, networks included. Methods whose
    iterations run the same compiled program share its time, whatever their numbers. Differences magnify what disturbs
    the machine, so they are taken between the shortest of up to `rounds` rounds, over more iterations where the batch
    is small, with no other run beside them; a call that has taken `patience` seconds in two rounds sits the others out.
    """
    rows = []
    firsts = {name: traced(solvers[0]) for name, solvers in methods.items()}
    plain = {name: _between(solver) for name, solver in firsts.items()}
    programs = {name: _program(solver) for name, solver in plain.items()}
    alike = {name: next(one for one in plain if eqx.tree_equal(programs[one], programs[name])) for name in plain}
    for size in sizes:
        batch, many = instances(distribution, key, size), max(num_steps, _MANY // size, _AT_LEAST)
        calls: dict[tuple[str, str], Callable[[], Any]] = {}
        for name in dict.fromkeys(alike.values()):
            for case, count in {"setup": 0, "many": many}.items():
                arguments = plain[name], distribution, batch, jnp.int32(count)
                calls[name, case] = functools.partial(_timed(_any_number), *arguments)
        for name, solver in firsts.items():
            if solver.accelerator.boundaries:
                calls[name, "all"] = functools.partial(_timed(_iterates), solver, distribution, batch, num_steps)
        shortest = {case: 1e3 * seconds / size for case, seconds in _shortest(calls, rounds, patience).items()}
        for name, same in alike.items():
            setup = min(shortest[same, "setup"], shortest[same, "many"])
            iteration = (shortest[same, "many"] - setup) / many
            least = setup + num_steps * iteration
            rows.append((name, size, setup, iteration, max(least, shortest.get((name, "all"), least))))
    return pd.DataFrame(rows, columns=["method", "batch", "setup", "iteration", "ms per instance"])


def _between(solver: fpa.Solver) -> fpa.Solver:
    """What is iterated where no network is asked."""
    return fpa.Solver(solver.splitting) if solver.accelerator.boundaries else solver


def _program(solver: fpa.Solver) -> fpa.Solver:
    """What decides the program that a solver is compiled to: all of it, but of arrays only shapes and types."""
    arrays, rest = eqx.partition(solver, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arrays), rest)


def instances(distribution: fpa.AbstractDistribution, key: PRNGKeyArray, num_instances: int) -> dict[str, Array]:
    """The first of the instances that `fpa.evaluate` draws from `key`, in one batch."""
    batches = fpa.stream(distribution, key, -(-num_instances // CHUNK) * CHUNK, CHUNK)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:num_instances], *batches)


def _shortest(calls: Mapping[Any, Callable[[], Any]], rounds: int, patience: float) -> dict[Any, float]:
    """The fewest seconds of every call in up to `rounds` rounds, after one that is not counted.

    One that has taken `patience` seconds sits the others out, but for the second: one alone may have been disturbed.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[Any, list[float]] = {case: [] for case in calls}
    with quiet():
        for case, call in [*calls.items()] * rounds:
            if len(seconds[case]) < 2 or sum(seconds[case]) < patience:
                begun = time.perf_counter()
                jax.block_until_ready(call())
                seconds[case].append(time.perf_counter() - begun)
    return {case: min(taken) for case, taken in seconds.items()}


@functools.cache
def _timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled as what is timed."""
    return eqx.filter_jit(function, compiler_options=thorough())  # pyright: ignore[reportCallIssue]  (passed on to jit)


def _iterates(solver, distribution, parameters, num_steps):
    """The iterates after `num_steps` iterations, in chunks that fit the caches."""

    def one(parameters):
        op = solver.splitting.bind(distribution.program(parameters))
        z, state = solver.accelerator.init(op)
        return solver.run(op, z, state, 0, num_steps, lambda op, z, fz, point: None)[0]

    return jax.lax.map(one, parameters, batch_size=100)


def _any_number(solver, distribution, parameters, count):
    """The iterates after `count` iterations, a number that is not compiled in, of a method without boundaries."""

    def one(parameters):
        op = solver.splitting.bind(distribution.program(parameters))
        step = lambda _, carry: solver.accelerator.step(op, *carry)[:2]  # noqa: E731
        return jax.lax.fori_loop(0, count, step, solver.accelerator.init(op))[0]

    return jax.lax.map(one, parameters, batch_size=100)


def elapsed(setup: float, iteration: float, networks: float, boundaries: Sequence[int], num_steps: int) -> np.ndarray:
    """When iterations 1, ..., `num_steps` are done: each takes `iteration` after `setup`, and networks their share.

    They are asked before the first iteration and at the boundaries, each time for an equal part of `networks`.
    """
    iterations = np.arange(1, num_steps + 1)
    calls = np.array([0, *boundaries])
    share = (calls[None] < iterations[:, None]).mean(axis=1)
    return setup + iteration * iterations + networks * share


def over_time(
    table: pd.DataFrame, frame: pd.DataFrame, methods: Mapping[str, Sequence[fpa.Solver]], num_steps: int
) -> pd.DataFrame:
    """The means of `frame`, of one panel, and the milliseconds per instance that they take in batches of each size.

    `table` is that of `cost` for `num_steps` iterations, which have to include every boundary of a method.
    """
    parts = []
    for _, (name, batch, setup, iteration, total) in table.iterrows():
        curves, boundaries = frame[frame["method"] == name], methods[name][0].accelerator.boundaries
        if max(boundaries, default=0) >= num_steps:
            raise StudyError(f"{name} asks networks after {max(boundaries)} iterations; only {num_steps} were timed.")
        networks = total - setup - num_steps * iteration
        spent = elapsed(setup, iteration, networks, boundaries, int(curves["iteration"].max()))
        place = {"batch": batch, "ms": spent[curves["iteration"] - 1]}
        parts.append(curves[["method", "metric", "iteration", "mean"]].assign(**place))
    return pd.concat(parts, ignore_index=True)


def times_to(spent: pd.DataFrame, levels: Sequence[float], at: int) -> pd.DataFrame:
    """A row per method: the residual after `at` iterations, and iterations and milliseconds to each of `levels`.

    `spent` comes from `over_time`. The residual is the largest of the means of primal, dual and gap. What takes more
    iterations than were followed is absent.
    """
    largest = spent[spent["metric"].isin(("primal", "dual", "gap"))].groupby(
        ["method", "batch", "iteration"], sort=False, as_index=False
    )
    curves = largest.agg(residual=("mean", "max"), ms=("ms", "first"))
    rows = []
    for name, several in curves.groupby("method", sort=False):
        sizes = several["batch"].unique().tolist()
        row: dict[str, Any] = {"method": name, f"at {at}": several.loc[several["iteration"] == at, "residual"].iloc[0]}
        for level in levels:
            reached = several[several["residual"] <= level].groupby("batch", sort=False).first()
            row[f"iterations to {level:g}"] = reached["iteration"].min()
            row |= {f"ms to {level:g}, {in_words(size)}": reached["ms"].get(size, np.nan) for size in sizes}
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.astype({name: "Int64" for name in table if str(name).startswith("iterations")})


def in_words(batch: int) -> str:
    """How instances are solved, for a heading."""
    return "one at a time" if batch == 1 else f"in a batch of {batch}"


def draw_cost(
    spent: pd.DataFrame,
    title: str,
    metrics: Sequence[str] = ("primal", "dual"),
    last: int = 50,
    scale: str = "linear",
    panel_width: float = 3.6,
) -> Figure:
    """Mean residuals over milliseconds per instance: a row per metric, a column per batch size.

    `spent` comes from `over_time`. The first `last` iterations of the slowest method end at the right. Widths are in
    inches.
    """
    sizes = spent["batch"].unique().tolist()
    size = (max(panel_width * len(sizes), 6.4), 2.5 * len(metrics) + 0.8)
    figure, grid = plt.subplots(len(metrics), len(sizes), figsize=size, squeeze=False, layout="constrained")
    for row, metric in zip(grid, metrics, strict=True):
        for axes, batch in zip(row, sizes, strict=True):
            part = spent[(spent["batch"] == batch) & (spent["metric"] == metric)]
            part = part[part["ms"] <= part.loc[part["iteration"] <= last, "ms"].max()]
            for name in [name for name in METHODS if name in set(part["method"])]:
                curve, look = part[part["method"] == name], METHODS[name]
                axes.plot(curve["ms"], curve["mean"], label=name, color=look.color, linestyle=look.line)
            axes.set_yscale("log")
            axes.set_xscale(scale)
            if scale == "log":
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            limit_height(axes)
            axes.set_xlabel("milliseconds per instance")
            axes.set_title(f"{METRICS[metric].title}, {in_words(batch)}")
        row[0].set_ylabel(METRICS[metric].definition)
    add_legend(figure)
    figure.suptitle(title, fontsize=10)
    return figure
