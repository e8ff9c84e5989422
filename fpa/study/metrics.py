"""Douglas-Rachford splitting of quadratic programs in learned metrics: families, training, comparisons.

The distance to the solution is measured as King et al. do, ||x_k - x*||^2, and scalars are tuned for the very number
that metrics are trained for, its mean at iteration `steps`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import fpa
from fpa._progress import progress
from fpa.accelerators import MLP, AbstractNetwork, Correction, FlatNetwork, Initializer, Normalizer
from fpa.study.families import summary
from fpa.study.schedules import ConstantRecipe, adam
from fpa.training import AbstractObjective, Pool, draw_pool, fit

FAMILIES: Mapping[str, Callable[[], fpa.AbstractConeDistribution]] = {
    "toy": fpa.BoxQP,
    "portfolio 20": fpa.Portfolio,
    "portfolio 100": lambda: fpa.Portfolio(100, 10.0, (48.9, 12.5)),
    "quadcopter": fpa.QuadcopterMPC,
}
OBJECTIVES: Mapping[str, Callable[[int], AbstractObjective]] = {
    "distance to the solution": lambda steps: fpa.LastError(steps, REFERENCE),
    "KKT residuals": fpa.LastKKT,
    "fixed-point gap": fpa.LastGap,
}
GRID = {
    "x": (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
    "s": tuple(float(value) for value in np.logspace(-2, 2, 13)),
    "relaxation": (1.0, 1.25, 1.5, 1.7),
}
REFERENCE = fpa.Solver(
    fpa.DouglasRachford(fpa.ConstantMetric(0.0, 4.0)), fpa.Safeguarded(fpa.AndersonAcceleration(10, "II"))
)
IDENTITY = fpa.DouglasRachford()
TOL, MAX_STEPS = 1e-11, 20_000
_SCALING = 100.0  # networks answer next to nothing at first


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule of a training run; `loss` is a key of `OBJECTIVES`, `start` adds a learned first iterate."""

    loss: str
    steps: int
    seeds: int
    updates: int
    batch: int
    rate: float
    units: int
    depth: int
    start: bool = False


@dataclass(frozen=True)
class TrainingSet:
    """`size` instances of a family, drawn from the role "train"; solved for a loss when first asked for, and kept."""

    distribution: fpa.AbstractConeDistribution
    seed: int
    size: int
    pools: dict[tuple[str, int], Pool] = field(default_factory=dict, repr=False)

    def pool(self, loss: str, steps: int) -> Pool:
        """The instances with the targets of that loss after `steps` iterations, in double precision."""
        if (loss, steps) not in self.pools:
            key = jax.random.split(fpa.role_key(self.seed, "train"), 3)[0]
            objective = OBJECTIVES[loss](steps)
            self.pools[loss, steps] = draw_pool(self.distribution, objective, key, self.size, jnp.float64)
        return self.pools[loss, steps]

    def describe(self) -> dict[str, Any]:
        """What determines the instances, for a configuration."""
        return {"family": fpa.describe(self.distribution), "seed": self.seed, "pool": self.size}


def train(
    data: TrainingSet,
    recipe: Recipe,
    checkpoint: Path,
    splitting: fpa.DouglasRachford = IDENTITY,
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of `recipe.seeds` solvers with learned metrics, trained together in double precision.

    What a network reads off an instance multiplies the metric that `splitting` has, the identity or one for all.
    """
    keys = jax.random.split(fpa.role_key(data.seed, "train"), 3)
    pool = data.pool(recipe.loss, recipe.steps)
    contexts = jax.vmap(data.distribution.context)(pool.parameters).astype(jnp.float32)
    normalizer = Normalizer(contexts.mean(axis=0), contexts.std(axis=0))
    members = [
        _untrained(data.distribution, normalizer, recipe, splitting, key)
        for key in jax.random.split(keys[1], recipe.seeds)
    ]
    ensemble, history = fit(
        fpa.stack(members),
        data.distribution,
        OBJECTIVES[recipe.loss](recipe.steps),
        keys[2],
        num_updates=recipe.updates,
        batch_size=recipe.batch,
        optimizer=adam(recipe.rate, recipe.updates),
        trainable=_networks,
        pool=pool,
        checkpoint=checkpoint,
        dtype=jnp.float64,
        description=f"train: {recipe.loss}",
    )
    return ensemble, summary([history])


def train_constant(
    data: TrainingSet, best: Mapping[str, float], recipe: ConstantRecipe, checkpoint: Path
) -> tuple[fpa.Solver, dict[str, Any]]:
    """An ensemble of one solver: the scalars `best`, trained on to one metric for the whole family and a relaxation.

    It is trained for the distance to the solution.
    """
    loss = "distance to the solution"
    scalars = (jnp.asarray(best[name]) for name in ("x", "s", "relaxation"))
    fitted, history = fpa.fit_metric(
        _splitting(*scalars),
        data.distribution,
        jax.random.fold_in(fpa.role_key(data.seed, "train"), 3),
        objective=OBJECTIVES[loss](recipe.steps),
        num_updates=recipe.updates,
        batch_size=recipe.batch,
        optimizer=recipe.optimizer,
        trainable=_weights,
        pool=data.pool(loss, recipe.steps),
        checkpoint=checkpoint,
        description="train one metric",
    )
    return fpa.stack([fpa.Solver(fitted)]), summary([history])


def _weights(splitting: Any) -> list[Any]:
    """What is trained of one metric for all: the weights of variables and rows, and the relaxation."""
    return [splitting.metric.log_x, splitting.metric.log_s, splitting.relaxation]


def _untrained(
    distribution: fpa.AbstractConeDistribution,
    normalizer: Normalizer,
    recipe: Recipe,
    splitting: fpa.DouglasRachford,
    key: PRNGKeyArray,
) -> fpa.Solver:
    """All weights of the network near the middle of their bounds, 1; a first iterate near 0."""
    first, second = jax.random.split(key)
    program = _first(distribution, "train")
    size = program.c.shape[0] + 2 * program.b.shape[0]
    mlp = MLP(first, normalizer.mean.size, size, recipe.units, recipe.depth, weight_scaling=_SCALING)
    metric = fpa.ProductMetric((splitting.metric, fpa.LearnedMetric(FlatNetwork(normalizer, mlp))))
    splitting = fpa.DouglasRachford(metric, splitting.relaxation)
    return fpa.Solver(splitting, _start(splitting, program, normalizer, recipe, second))


def _start(splitting, program: fpa.ConeProgram, normalizer: Normalizer, recipe: Recipe, key: PRNGKeyArray) -> Any:
    """Plain iteration, from an iterate that a network predicts if `recipe.start`."""
    if not recipe.start:
        return fpa.Picard()
    size = splitting.bind(program).initial().size
    blank = jnp.zeros(2 * size, jnp.float32)
    seen = Normalizer(
        jnp.concatenate([blank[:size], normalizer.mean]), jnp.concatenate([blank[:size], normalizer.scale])
    )
    mlp = MLP(key, size + normalizer.mean.size, size, recipe.units, recipe.depth, weight_scaling=_SCALING)
    unit = Normalizer(blank[:size], jnp.ones(size, jnp.float32))
    tau = jnp.ones((), jnp.float32)
    none = Correction((), jnp.zeros((0, size), jnp.float32), tau, 0)
    return fpa.Intermittent(Initializer(FlatNetwork(seen, mlp), unit, tau), none, ())


def _networks(solver: Any) -> list[Any]:
    """What is trained: the networks of the metric and, if there is one, of the first iterate."""
    return [node for node in jax.tree.leaves(solver, is_leaf=_is_network) if _is_network(node)]


def _is_network(node: Any) -> bool:
    return isinstance(node, AbstractNetwork)


def tuned(
    distribution: fpa.AbstractConeDistribution,
    steps: int,
    seed: int,
    num_instances: int,
    grid: Mapping[str, Any] = GRID,
) -> dict[str, float]:
    """The scalars of the grid with the smallest mean squared error at iteration `steps`, on "tune" instances."""
    parameters = fpa.sample_batch(distribution, fpa.role_key(seed, "tune"), num_instances)
    solutions = solutions_of(distribution, parameters)
    settings = list(product(*grid.values()))
    errors = [
        float(measure(_scalar(*setting), distribution, parameters, solutions, steps)["error"][:, -1].mean())
        for setting in progress(settings, total=len(settings), desc="tune")
    ]
    best = int(np.nanargmin(errors))
    return dict(zip(grid, settings[best], strict=True)) | {"error": errors[best]}


def _scalar(x: float, s: float, relaxation: float) -> fpa.Solver:
    numbers = (jnp.asarray(value) for value in (x, s, relaxation))
    return fpa.Solver(_splitting(*numbers))


def _splitting(x, s, relaxation) -> fpa.DouglasRachford:
    return fpa.DouglasRachford(fpa.ConstantMetric(x, s), relaxation)


def baselines(distribution: fpa.AbstractConeDistribution, best: Mapping[str, float]) -> dict[str, fpa.Solver]:
    """What a learned metric is compared with: the identity, the best scalars, Giselsson and Boyd's, and the oracle."""
    scalars = _splitting(best["x"], best["s"], best["relaxation"])
    return {
        "DR": fpa.Solver(fpa.DouglasRachford()),
        "DR tuned": fpa.Solver(scalars),
        "DR tuned+AA": fpa.Solver(scalars, _anderson()),
        "DR Giselsson-Boyd": fpa.Solver(fpa.DouglasRachford(fpa.giselsson_boyd(_first(distribution, "tune")))),
        "DR oracle metric": fpa.Solver(fpa.DouglasRachford(fpa.ActiveSetMetric(REFERENCE))),
    }


def accelerated(solver: fpa.Solver) -> fpa.Solver:
    """The same splitting with Anderson acceleration, safeguarded."""
    return fpa.Solver(solver.splitting, _anderson())


def _anderson() -> fpa.Safeguarded:
    return fpa.Safeguarded(fpa.AndersonAcceleration(memory=5, kind="II"))


@eqx.filter_jit
def solutions_of(distribution: fpa.AbstractConeDistribution, parameters: Any) -> fpa.Point:
    """The points of the solved programs, a batch of them; NaN where one was not solved."""

    def one(parameters):
        solution = REFERENCE.solve(distribution.program(parameters), TOL, MAX_STEPS)
        solved = solution.status == fpa.Status.SOLVED
        return jax.tree.map(lambda leaf: jnp.where(solved, leaf, jnp.nan), solution.point)

    return jax.vmap(one)(parameters)


@eqx.filter_jit
def measure(
    solver: fpa.Solver,
    distribution: fpa.AbstractConeDistribution,
    parameters: Any,
    solutions: fpa.Point,
    num_steps: int,
) -> dict[str, Float[Array, "batch steps"]]:
    """Squared error, primal and dual residual and gap of every instance after each iteration."""

    def one(parameters, solution):
        def record(op, z, fz, point):
            residuals = op.program.residuals(point)
            error = jnp.sum((point.x - solution.x) ** 2)
            return {"error": error, "primal": residuals.primal, "dual": residuals.dual, "gap": residuals.gap}

        op = solver.splitting.bind(distribution.program(parameters))
        z, state = solver.accelerator.init(op)
        return solver.run(op, z, state, 0, num_steps, record)[2]

    return jax.vmap(one)(parameters, solutions)


def _first(distribution: fpa.AbstractConeDistribution, role: str) -> fpa.ConeProgram:
    parameters = fpa.sample_batch(distribution, fpa.role_key(0, role), 1)
    return distribution.program(jax.tree.map(lambda leaf: leaf[0], parameters))
