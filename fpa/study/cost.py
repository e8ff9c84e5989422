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

_MANY, _AT_LEAST = 500, 20


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
    iterations only, one in between; `ms per instance` is all of `num_steps`, networks included: what is asked at
    boundaries is timed by itself. Methods that run the same compiled program share its time, whatever their numbers.
    Differences magnify what disturbs the machine, so they are taken between the shortest of up to `rounds` rounds, over
    more iterations where the batch is small, with no other run beside them; a call that has taken `patience` seconds in
    two rounds sits the others out.
    """
    rows = []
    firsts = {name: traced(solvers[0]) for name, solvers in methods.items()}
    programs = {name: _program(solver) for name, solver in firsts.items()}
    alike = {name: next(one for one in firsts if eqx.tree_equal(programs[one], programs[name])) for name in firsts}
    for size in sizes:
        batch, many = instances(distribution, key, size), max(_MANY // size, _AT_LEAST)
        calls: dict[tuple[str, str], Callable[[], Any]] = {}
        for name in dict.fromkeys(alike.values()):
            solver = firsts[name]
            calls |= {(name, case): call for case, call in _calls(solver, distribution, batch, many).items()}
        shortest = {case: 1e3 * seconds / size for case, seconds in _shortest(calls, rounds, patience).items()}
        for name, same in alike.items():
            setup = min(shortest[same, "setup"], shortest[same, "many"])
            iteration = (shortest[same, "many"] - setup) / many
            crossings = max(0, shortest.get((same, "crossings"), 0) - setup)
            rows.append((name, size, setup, iteration, setup + num_steps * iteration + crossings))
    return pd.DataFrame(rows, columns=["method", "batch", "setup", "iteration", "ms per instance"])


def _calls(
    solver: fpa.Solver, distribution: fpa.AbstractDistribution, batch: dict[str, Array], many: int
) -> dict[str, Callable[[], Any]]:
    """What is timed of a solver: its first iterate, `many` iterations from there, and all boundaries from there."""
    arguments = solver, distribution, batch
    iterate = _compiled(_iterate, *arguments, jnp.int32(0))
    calls = {case: functools.partial(iterate, *arguments, jnp.int32(n)) for case, n in (("setup", 0), ("many", many))}
    if solver.accelerator.boundaries:
        calls["crossings"] = functools.partial(_compiled(_cross, *arguments), *arguments)
    return calls


def _program(solver: fpa.Solver) -> fpa.Solver:
    """What decides the program that a solver is compiled to: all of it, but of arrays only shapes and types."""
    arrays, rest = eqx.partition(solver, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), arrays), rest)


def instances(distribution: fpa.AbstractDistribution, key: PRNGKeyArray, num_instances: int) -> dict[str, Array]:
    """The first of the instances that `fpa.evaluate` draws from `key`, in one batch."""
    batches = fpa.stream(distribution, key, -(-num_instances // CHUNK) * CHUNK, CHUNK)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts)[:num_instances], *batches)


def _shortest(calls: Mapping[Any, Callable[[], Any]], rounds: int, patience: float) -> dict[Any, float]:
    """The fewest seconds of every call in up to `rounds` rounds.

    One that has taken `patience` seconds sits the others out, but for the second: one alone may have been disturbed.
    """
    seconds: dict[Any, list[float]] = {case: [] for case in calls}
    with quiet():
        for case, call in [*calls.items()] * rounds:
            if len(seconds[case]) < 2 or sum(seconds[case]) < patience:
                begun = time.perf_counter()
                jax.block_until_ready(call())
                seconds[case].append(time.perf_counter() - begun)
    return {case: min(taken) for case, taken in seconds.items()}


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """The function, compiled as what is timed, for arguments like the given ones."""
    jitted = eqx.filter_jit(function, compiler_options=thorough())  # pyright: ignore[reportCallIssue]  (passed to jit)
    return jitted.lower(*arguments).compile()


def _iterate(solver, distribution, parameters, count):
    """The iterates after `count` iterations, a number that is not compiled in, without crossing a boundary."""

    def iterated(op):
        step = lambda _, carry: solver.accelerator.step(op, *carry)[:2]  # noqa: E731
        return jax.lax.fori_loop(0, count, step, solver.accelerator.init(op))[0]

    return _in_chunks(iterated, solver, distribution, parameters)


def _cross(solver, distribution, parameters):
    """The first iterates, after all boundaries one after the other, without an iteration in between."""

    def crossed(op):
        z, state = solver.accelerator.init(op)
        for boundary in solver.accelerator.boundaries:
            z, state = solver.accelerator.cross(op, z, state, boundary)
        return z

    return _in_chunks(crossed, solver, distribution, parameters)


def _in_chunks(function, solver, distribution, parameters):
    """`function` of the map bound to each instance, in chunks that fit the caches."""
    one = lambda parameters: function(solver.splitting.bind(distribution.program(parameters)))  # noqa: E731
    return jax.lax.map(one, parameters, batch_size=100)


def elapsed(setup: float, iteration: float, networks: float, boundaries: Sequence[int], num_steps: int) -> np.ndarray:
    """When iterations 1, ..., `num_steps` are done: each takes `iteration` after `setup`, and networks their share.

    They are asked at the boundaries, each time for an equal part of `networks`.
    """
    iterations = np.arange(1, num_steps + 1)
    share = np.searchsorted(boundaries, iterations) / max(1, len(boundaries))
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
