"""What methods for composite programs achieve: relative gaps, iterations and seconds to a gap, biases."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Array, Float
from matplotlib.figure import Figure

import fpa
from fpa._progress import progress
from fpa.study import composites, models
from fpa.study.cost import cost
from fpa.study.session import Run

_CHUNK = 32
_TOGETHER = 8  # few enough that their matrices stay in the cache over all iterations
_LEVELS = (1e-4, 1e-6)


def trained(
    here: Run,
    distribution: fpa.AbstractDistribution,
    part: str,
    recipe: composites.Recipe,
    seed: int,
    validation: int,
) -> list[fpa.Solver]:
    """Models of a recipe, kept or trained; `part` tells their file from others of the run."""
    config = {"family": fpa.describe(distribution), "seed": seed, "validation": validation, "recipe": vars(recipe)}
    train = functools.partial(composites.train, distribution, recipe, seed, validation)
    solvers, history = models.trained(here, distribution, train, config, "fpa.study.composites", f"_{part}")
    first, last = (np.mean(history["losses"][k]) for k in (0, -1))
    print(f"{part}: {len(solvers)} models, mean objective {first:.4g} at first, {last:.4g} at last")
    return solvers


def ada_lista(here: Run, distribution: fpa.SparseCoding, **recipe: Any) -> list[fpa.Solver]:
    """Ada-LISTA, kept or trained; `recipe` holds the arguments of `composites.train_ada_lista`."""
    config = {"family": fpa.describe(distribution), "recipe": recipe}
    train = lambda path: composites.train_ada_lista(distribution, **recipe, checkpoint=path)  # noqa: E731
    return models.trained(here, distribution, train, config, "fpa.study.composites", "_ada_lista")[0]


class Instances:
    """Test instances of a family and their optimal values, to 1e-12 in the optimality conditions."""

    def __init__(self, family: fpa.AbstractDistribution, seed: int, num_instances: int):
        self.family = family
        self.parameters = fpa.sample_batch(family, fpa.role_key(seed, "test"), num_instances)
        solved = [_optimum(family, batch) for batch in self._batches()]
        self.optimum = np.concatenate([np.asarray(value) for value, _, _ in solved])
        self.unsolved = int(sum(np.sum(status != fpa.Status.SOLVED) for _, status, _ in solved))
        self.nonzeros = np.concatenate([np.asarray(count) for _, _, count in solved])

    def curves(self, solvers: Sequence[fpa.Solver], num_steps: int) -> fpa.Curves:
        """The relative gap (F(x_k) - F*) / F* of every model and instance at iterations 1, ..., `num_steps`."""
        gaps = np.stack([self._gaps(solver, num_steps) for solver in solvers])
        return fpa.Curves({"objective": gaps}, np.isfinite(gaps))

    def _gaps(self, solver, num_steps):
        values = np.concatenate([np.asarray(_values(solver, self.family, b, num_steps)) for b in self._batches()])
        return np.maximum(values - self.optimum[:, None], 0) / self.optimum[:, None]

    def _batches(self):
        count = len(jax.tree.leaves(self.parameters)[0])
        for first in range(0, count, _CHUNK):
            yield jax.tree.map(lambda leaf, k=first: leaf[k : k + _CHUNK], self.parameters)


def step_ratio(instances: Instances) -> float:
    """How many times as long the right step is as the released one, the median over instances."""

    def one(parameters):
        program: Any = instances.family.program(parameters)
        return composites.RIGHT.step(program) / composites.RELEASED.step(program)

    return float(np.median(jax.vmap(one)(instances.parameters)))


def curves(instances: Instances, methods: Mapping[str, Sequence[fpa.Solver]], num_steps: int) -> dict[str, fpa.Curves]:
    """Relative gaps of several methods on the same instances."""
    bar = progress(methods.items(), total=len(methods), desc="evaluate")
    return {method: instances.curves(solvers, num_steps) for method, solvers in bar}


def speed(
    instances: Instances,
    gaps: Mapping[str, fpa.Curves],
    methods: Mapping[str, Sequence[fpa.Solver]],
    seed: int,
    num_steps: int,
    rounds: int,
) -> pd.DataFrame:
    """A row per method: milliseconds before and per iteration; median iterations and milliseconds to 1e-4 and 1e-6.

    Median over instances and models; NaN where the median instance never gets there. The milliseconds are per instance,
    of a batch of 32, and hold what comes before the first iteration: the Lipschitz constant where it is needed. In the
    last column is the largest gap of all instances and models at the end.
    """
    costs = cost(instances.family, methods, fpa.role_key(seed, "test"), num_steps, [_CHUNK], rounds)
    rows = []
    for method, curve in gaps.items():
        setup, each = costs.set_index("method").loc[method, ["setup", "iteration"]]
        row = {"method": method, "ms setup": setup, "ms per iteration": each}
        for level in _LEVELS:
            needed = median_iterations(curve, level)
            row |= {f"iterations to {level:.0e}": needed, f"ms to {level:.0e}": setup + each * needed}
        rows.append(row | _largest(curve))
    return pd.DataFrame(rows)


def median_iterations(curve: fpa.Curves, level: float) -> float:
    """The median number of iterations to a relative gap; NaN if most instances never reach it."""
    needed = fpa.iterations_to(curve.values["objective"], level).astype(float)
    median = float(np.median(np.where(needed > 0, needed, np.inf)))
    return median if np.isfinite(median) else float("nan")


def reach(gaps: Mapping[str, fpa.Curves], levels: Sequence[float], marks: Sequence[int]) -> pd.DataFrame:
    """A row per method: median iterations to each level, the mean gap after so many, and the largest at the end."""
    return pd.DataFrame(
        {"method": method}
        | {f"iterations to {level:.0e}": median_iterations(curve, level) for level in levels}
        | {f"gap at {k}": curve.mean("objective")[k - 1] for k in marks}
        | _largest(curve)
        for method, curve in gaps.items()
    )


def _largest(curve: fpa.Curves) -> dict[str, float]:
    """The largest gap at the end, infinite where a run diverged to what is not a number."""
    values = curve.values["objective"]
    last = np.where(np.isnan(values[..., -1]), np.inf, values[..., -1])
    return {f"largest gap at {values.shape[-1]}": float(last.max())}


def biases(models: Mapping[str, fpa.Solver], instances: Instances, num_steps: int) -> pd.DataFrame:
    """The mean absolute value of b1 and b2 over instances and coordinates, a row per model, bias and iteration."""
    rows = []
    for name, solver in models.items():
        parts = [np.asarray(_biases(solver, instances.family, b, num_steps)) for b in instances._batches()]
        for k, (b1, b2) in enumerate(np.concatenate(parts).mean(axis=0)):
            rows += [{"model": name, "iteration": k + 1, "b1": b1, "b2": b2}]
    return pd.DataFrame(rows)


def draw_biases(table: pd.DataFrame, title: str) -> Figure:
    """Mean absolute biases over iterations, a panel per model."""
    names = list(table["model"].unique())
    size = (3.6 * len(names), 2.9)
    figure, grid = plt.subplots(1, len(names), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axes, name in zip(grid[0], names, strict=True):
        part = table[table["model"] == name]
        for bias, color in (("b1", "#0072B2"), ("b2", "#D55E00")):
            axes.plot(part["iteration"], part[bias], color=color, label=f"${bias[0]}_{bias[1]}$")
        axes.set_yscale("log")
        axes.set_xlabel("iteration")
        axes.set_title(name)
        axes.legend(frameon=False)
    grid[0, 0].set_ylabel("mean absolute value")
    figure.suptitle(title, fontsize=10)
    return figure


@eqx.filter_jit
def _optimum(family, batch):
    def one(parameters):
        program = family.program(parameters)
        solution = composites.REFERENCE.solve(program, composites.TOL, composites.MAX_STEPS)
        return program.value(solution.point.x), solution.status, jnp.sum(solution.point.x != 0)

    return jax.vmap(one)(batch)


@eqx.filter_jit
def _values(solver: fpa.Solver, family, batch: Any, num_steps: int) -> Float[Array, "batch steps"]:
    def one(parameters):
        op = solver.splitting.bind(family.program(parameters))
        record = lambda op, z, fz, point: op.program.value(point.x)  # noqa: E731
        return solver.run(op, *solver.accelerator.init(op), 0, num_steps, record)[2]

    return jax.lax.map(one, batch, batch_size=_TOGETHER)


@eqx.filter_jit
def _biases(solver: Any, family, batch: Any, num_steps: int):
    """For every iteration the mean absolute b1 and b2, of a `PreconditionedMomentum`."""

    def one(parameters):
        op = solver.splitting.bind(family.program(parameters))

        def body(carry, _):
            z, state = carry
            seen = jnp.stack([op.gradient(z), z], axis=1)
            answers, _ = solver.accelerator.network(seen, state.hidden)
            found = solver.accelerator.coefficients(op.p, answers.astype(z.dtype))
            z_next, state, _, _ = solver.accelerator.step(op, z, state)
            return (z_next, state), jnp.stack([jnp.mean(jnp.abs(found.b1)), jnp.mean(jnp.abs(found.b2))])

        return jax.lax.scan(body, solver.accelerator.init(op), length=num_steps)[1]

    return jax.vmap(one)(batch)
