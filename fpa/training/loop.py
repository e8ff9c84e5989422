"""What every training loop shares: where a run stands, and how it goes on, is validated and kept."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from fpa._progress import progress
from fpa.distributions import AbstractDistribution
from fpa.solver import Solver
from fpa.training.checkpoint import Checkpoint
from fpa.training.validation import AbstractValidation


@dataclass
class History:
    """What training did: `losses` (updates, models), `scores` (validations, models) after `scored` updates.

    `skipped` counts the updates of each model that were left out because no finite gradient could be had, `dropped`
    the instances that had to be left out of a batch; `seconds` is the time that the updates took.
    """

    losses: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    scored: list[int] = field(default_factory=list)
    skipped: int = 0
    dropped: int = 0
    seconds: float = 0.0


class AbstractLoop(ABC):
    """One call of a training function: what is fixed, and one update."""

    trained: Any
    static: Any
    models: int
    distribution: AbstractDistribution
    optimizer: optax.GradientTransformation
    dtype: Any

    def initial_state(self) -> Any:
        """The optimiser's first state, model by model."""
        return jax.jit(jax.vmap(self.optimizer.init))(self.trained)

    @abstractmethod
    def update(self, run: "TrainingRun", update: int) -> np.ndarray:
        """One update of `run` in place; returns each model's loss."""


@dataclass
class TrainingRun:
    """Where training stands: everything a checkpoint holds."""

    update: int
    trained: Any
    state: Any
    best: Any
    best_score: Any
    history: History


def train(
    loop: AbstractLoop,
    saved: Checkpoint,
    num_updates: int,
    validation: AbstractValidation | None,
    checkpoint_every: int,
    description: str,
) -> tuple[Solver, History]:
    """Go through all updates, from the checkpoint if there is one; a run that is stopped leaves one."""
    scores = jnp.full((loop.models,), jnp.inf)
    run = saved.load(TrainingRun(0, loop.trained, loop.initial_state(), loop.trained, scores, History()))
    try:
        _go_on(loop, run, validation, num_updates, saved, checkpoint_every, description)
    except BaseException:
        saved.save(run)
        raise
    saved.save(run)
    best = run.best if validation is not None else run.trained
    return eqx.combine(best, loop.static), run.history


def _go_on(loop, run, validation, num_updates, saved, checkpoint_every, description) -> None:
    bar = progress(range(run.update, num_updates), total=num_updates, desc=description)
    bar.update(run.update)
    if run.update and run.update not in run.history.scored and _is_due(validation, run.update, num_updates):
        _select(loop, run, validation)  # which is where the run was interrupted
    for update in range(run.update, num_updates):
        begun = time.perf_counter()
        losses = loop.update(run, update)
        run.history.losses.append(losses)
        run.update = update + 1
        run.history.seconds += time.perf_counter() - begun
        if _is_due(validation, run.update, num_updates):
            _select(loop, run, validation)
        if run.update % checkpoint_every == 0:
            saved.save(run)
        bar.set_postfix(loss=f"{losses.mean():.4g}", refresh=False)
        bar.update()
    bar.close()


def _is_due(validation, update: int, num_updates: int) -> bool:
    return validation is not None and (update % validation.every == 0 or update == num_updates)


def _select(loop, run, validation) -> None:
    """Keep each model where it scores better than ever before."""
    score = validation.score(eqx.combine(run.trained, loop.static), loop.distribution, loop.dtype)
    better = score < run.best_score
    best = jax.tree.map(lambda new, old: _choose(better, new, old), run.trained, run.best)
    run.best, run.best_score = best, jnp.where(better, score, run.best_score)
    run.history.scores.append(np.asarray(score))
    run.history.scored.append(run.update)


def accelerator(solver: Solver) -> Any:
    """What is trained unless told otherwise."""
    return solver.accelerator


def split(solver: Solver, parts: Callable[[Solver], Any]) -> tuple[Solver, Solver]:
    """The floating-point arrays of `parts(solver)`, and all the rest; each is None in the place of the other.

    Raises ValueError where there is no such array.
    """
    chosen = jax.tree.map(eqx.is_inexact_array, parts(solver))
    if not any(jax.tree.leaves(chosen)):
        raise ValueError(
            "fit: `trainable` selects no floating-point array of the solver. By default it selects the accelerator; "
            "for a learned metric it is lambda solver: solver.splitting.metric.network."
        )
    return eqx.partition(solver, eqx.tree_at(parts, jax.tree.map(lambda _: False, solver), chosen))


def step(optimizer: optax.GradientTransformation, grads: Any, state: Any, trained: Any) -> tuple[Any, Any, Array]:
    """One step of the optimiser for one model, and whether its gradient is finite; if not, all stays as it is."""
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(grads)]))
    updates, new_state = optimizer.update(grads, state, trained)
    new = jax.tree.map(lambda p, u: p + u.astype(p.dtype), trained, updates)
    keep = lambda new, old: jnp.where(finite, new, old)  # noqa: E731
    return jax.tree.map(keep, new, trained), jax.tree.map(keep, new_state, state), finite


def check_positive(name: str, **numbers: int) -> None:
    """ValueError for a number below 1, by its name."""
    for number, value in numbers.items():
        if value < 1:
            raise ValueError(f"{name}: {number} must be at least 1, got {value}.")


def _choose(which, new, old):
    return jnp.where(which.reshape(which.shape + (1,) * (new.ndim - 1)), new, old)
