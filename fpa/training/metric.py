"""One metric for a whole family, trained through the solver."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from fpa.distributions import AbstractConeDistribution, sample_batch
from fpa.maps import TunedMetric
from fpa.solver import Solver
from fpa.training.ensembles import member, stack
from fpa.training.fit import fit
from fpa.training.loop import History
from fpa.training.objectives import AbstractObjective, LastKKT
from fpa.training.pools import Pool


def rows(splitting: Any) -> Any:
    """The logarithms of the rows' weights of a `TunedMetric`, of length m."""
    return splitting.metric.log_s


def fit_metric(
    splitting: Any,
    distribution: AbstractConeDistribution,
    key: PRNGKeyArray,
    *,
    objective: AbstractObjective | None = None,
    num_updates: int = 300,
    batch_size: int = 16,
    optimizer: optax.GradientTransformation | None = None,
    trainable: Callable[[Any], Any] = rows,
    pool: Pool | None = None,
    checkpoint: str | Path | None = None,
    dtype: Any = None,
    description: str = "train the metric",
) -> tuple[Any, History]:
    """`splitting` in one diagonal metric for the whole family, a `TunedMetric`, and the history of its training.

    `splitting` has a field `metric`, as `SCS` and `DouglasRachford` do. A trained metric has a weight for each of the n
    variables and m rows; it costs nothing per iteration, which converges in it as in any. Training starts from the
    weights of the splitting's own metric (those of one instance, if they vary), so tune scalars first.

    trainable: from a splitting to the parts of it that are trained, as in `fit`; by default the rows' weights alone,
        because for the SCS map those of the variables bring nothing more.
    objective: by default the KKT residuals after 30 iterations, `LastKKT(30)`, for which nothing has to be solved.
    optimizer: by default Adam, its rate from 0.05 to 0 by a cosine.
    dtype: by default double precision where it is enabled; scalars that are far apart need it.
    The others are those of `fit`. Draw `key` from the role "train". Raises ValueError for a metric with a weight of 0,
    and for what `fit` refuses.
    """
    program = jax.tree.map(lambda leaf: leaf[0], sample_batch(distribution, key, 1))
    weights = splitting.metric(distribution.program(program))
    if not all(bool((weight > 0).all()) for weight in weights):
        raise ValueError("fit_metric: the splitting's metric has to have positive weights, to start from.")
    start = eqx.tree_at(lambda splitting: splitting.metric, splitting, TunedMetric(*map(jnp.log, weights)))
    ensemble, history = fit(
        stack([Solver(start)]),
        distribution,
        LastKKT(30) if objective is None else objective,
        key,
        num_updates=num_updates,
        batch_size=batch_size,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.05, num_updates)) if optimizer is None else optimizer,
        trainable=lambda solver: trainable(solver.splitting),
        pool=pool,
        checkpoint=checkpoint,
        checkpoint_every=50,
        dtype=jnp.result_type(float) if dtype is None else dtype,
        description=description,
    )
    return member(ensemble, 0).splitting, history
