"""How long one training update of the paper's Lasso configuration takes, and how long its matrix products alone."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import pandas as pd

import fpa
from fpa.study import paper
from fpa.study.families import on_u
from fpa.study.paper_recipes import RECURRENT
from fpa.training import calibrate, fit, stack


def training_update(
    rounds: int, batch: int = 64, num_steps: int = 50, choice: Mapping[str, Any] = RECURRENT, **lasso: int
) -> pd.DataFrame:
    """A row per precision of the map: seconds per update of an LSTM of 2 x 512 units with a decoder of 4 x 1024.

    Networks are in float32 and instances are drawn afresh; in the paper batches hold 64 and runs 50 iterations. The
    last row is what the networks' matrix products alone would take, at the rate of one of this batch with 1024 x 1024.

    `choice` and `lasso` give other sizes of the model and of the family than the paper's.
    """
    distribution = fpa.Lasso(**lasso)
    reference = fpa.Solver(fpa.SCS(), fpa.AndersonAcceleration(memory=10, kind="II"))
    calibration = calibrate(fpa.SCS(), distribution, fpa.role_key(0, "train"), reference, history=1, num_instances=50)
    model = paper.recurrent(calibration, choice, on_u(distribution), jax.random.key(0))
    optimizer = paper.optimizer(choice, rounds)
    rows = [
        _row(name, dtype, distribution, model, optimizer, rounds, batch, num_steps)
        for name, dtype in _PRECISIONS.items()
    ]
    rows.append(_products(model.network, rounds, batch, num_steps))
    return pd.DataFrame(rows).assign(times_reference=lambda table: table.seconds_median / table.seconds_median[0])


_SIDE = 1024
_PRECISIONS = {"fpa, map in float32": jnp.float32, "fpa, map in float64": jnp.float64}


def _row(name, dtype, distribution, model, optimizer, rounds, batch, num_steps) -> dict[str, Any]:
    solver, objective = fpa.Solver(fpa.SCS(), stack([model])), paper.unrolled(num_steps)
    options = dict(batch_size=batch, optimizer=optimizer, dtype=dtype, description=name)
    first, *others = [
        fit(solver, distribution, objective, jax.random.key(turn), num_updates=1, **options)[1].seconds
        for turn in range(rounds + 1)
    ]
    return _record(name, dtype, batch, others, first)


def _products(network: Any, rounds: int, batch: int, num_steps: int) -> dict[str, Any]:
    """Every matrix of encoder, cell and decoder is multiplied three times per iteration, twice of these backwards."""
    leaves = jax.tree.leaves((network.encoder, network.cell, network.decoder))
    weights = sum(leaf.size for leaf in leaves if getattr(leaf, "ndim", 0) == 2)
    square, repeated = jnp.full((_SIDE, _SIDE), 1 / _SIDE, jnp.float32), 50
    run = jax.jit(lambda x: jax.lax.fori_loop(0, repeated, lambda _, x: x @ square, x))
    x, seconds = jnp.ones((batch, _SIDE), jnp.float32), []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        x = jax.block_until_ready(run(x))
        seconds.append((time.perf_counter() - begun) * 3 * num_steps * weights / (repeated * _SIDE**2))
    return _record("its matrix products alone", jnp.float32, batch, seconds[1:], seconds[0])


def _record(method: str, dtype: Any, batch: int, seconds: Sequence[float], first: float) -> dict[str, Any]:
    times = pd.Series(seconds)
    return {
        "family": "lasso",
        "instances": batch,
        "task": "one training update",
        "method": method,
        "dtype": jnp.dtype(dtype).name,
        "seconds_median": times.median(),
        "seconds_min": times.min(),
        "seconds_max": times.max(),
        "first_call_extra_seconds": first - times.median(),
    }
