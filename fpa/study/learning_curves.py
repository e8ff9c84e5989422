"""How quickly is a good model learned? Residuals after so many updates, instances and seconds of training (Figure 9).

Two ways of training are compared: the paper's, dense networks and the loss on truncated windows through the solver
alone, and this study's, `fpa.study.staged`, once for each of several lengths of its schedule.
"""

import dataclasses
import functools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray

import fpa
from fpa.accelerators import MLP, Correction, Initializer, Intermittent, Normalizer
from fpa.accelerators.features import FeatureNormalizer, Features
from fpa.accelerators.networks import AbstractNetwork
from fpa.study import paper, staged, variants
from fpa.study.files import find_root
from fpa.study.store import cached, make_key
from fpa.training import AbstractValidation, Calibration, TruncatedWindows, calibrate, fit, stack

PANELS = {
    "fixed source": ("fixed_source", "q = 20"),
    "dynamic, 2 steps": ("dynamic", "2 steps"),
    "dynamic, 3 steps": ("dynamic", "3 steps"),
}
_WINDOW = 10
_LONGEST = 100.0  # gradients are clipped to it
_HISTORY = 2  # iterates before f(z) that g_acc sees, as steps between them


@dataclass(frozen=True)
class LastResidual(AbstractValidation):
    """Scores a model by its residual after `num_steps` iterations, over that of the cold start: the mean logarithm.

    In training the solver runs in single precision, in which residuals below 4e-6 are a few percent too large.
    """

    key: PRNGKeyArray
    every: int
    num_instances: int
    num_steps: int

    def score(self, ensemble, distribution, dtype):
        members = [fpa.member(ensemble, index) for index in range(fpa.num_models(ensemble.accelerator))]
        return jnp.stack([self.of(member, distribution, dtype) for member in members])

    def of(self, solver: fpa.Solver, distribution: fpa.AbstractDistribution, dtype: Any = jnp.float64):
        """The score of one solver."""
        parameters = fpa.sample_batch(distribution, self.key, self.num_instances)
        return _last(solver, distribution, jax.tree.map(lambda leaf: leaf.astype(dtype), parameters), self.num_steps)


@eqx.filter_jit
def _last(solver, distribution, parameters, num_steps: int):
    one = lambda p: solver.trace(distribution.program(p), num_steps, residuals=False).fixed_point[-1]  # noqa: E731
    mean = jnp.mean(jnp.log(jax.vmap(one)(parameters) + 1e-12))
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)


class HistoryNetwork(AbstractNetwork):
    """An MLP from the first `vectors` of (k, w), the scalars (c,) and the context (p,) to (num_out,).

    What the networks of the main paper see (Section 5); entries are standardised, and `seen` is for all of `Features`.
    """

    normalizer: Normalizer
    mlp: MLP
    vectors: int = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, seen: FeatureNormalizer, vectors: int, num_out: int, units: int, depth: int):
        means, scales = (
            Features(*(getattr(part, which) for part in (seen.vectors, seen.scalars, seen.context)))
            for which in ("mean", "scale")
        )
        self.vectors = vectors
        self.normalizer = Normalizer(self._flat(means), self._flat(scales))
        self.mlp = MLP(key, self.normalizer.mean.size, num_out, units, depth)

    def __call__(self, features):
        return self.mlp(self.normalizer(self._flat(features)))

    def _flat(self, features: Features) -> Array:
        return jnp.concatenate([features.vectors[: self.vectors].ravel(), features.scalars, features.context])


def dense(calibration: Calibration, access: tuple[int, ...], units: int, depth: int, key: PRNGKeyArray) -> Intermittent:
    """Algorithm 2 as in Section 5: g_init sees what varies, g_acc the last iterates and which access it is besides."""
    keys, size = jax.random.split(key), calibration.unit.size
    first = HistoryNetwork(keys[0], calibration.first, 0, size, units, depth)
    later = HistoryNetwork(keys[1], calibration.later, 1 + _HISTORY, size, units, depth)
    initializer = Initializer(first, calibration.solutions, calibration.tau)
    correction = Correction((later,), calibration.unit[None], calibration.tau, len(access))
    return Intermittent(initializer, correction, access, _HISTORY)


@dataclass(frozen=True)
class Windows:
    """The paper's way: one MLP for g_init and one for g_acc, windows of ten maps after every access."""

    access: list[int]
    updates: int
    batch: int
    rate: float
    units: int
    depth: int
    calibration: int

    def run(
        self, distribution: fpa.AbstractConeDistribution, seed: int, validation: LastResidual, checkpoint: Path
    ) -> list[dict[str, Any]]:
        """One training; a record at each validation. An interrupted one goes on from `checkpoint`."""
        access, key = tuple(self.access), fpa.role_key(seed, "train")
        reference = variants.family_of(distribution).reference
        stages = {"num_instances": self.calibration, "stages": paper.told(access)}
        seen = calibrate(fpa.SCS(), distribution, key, reference, **stages)
        _, history = fit(
            fpa.Solver(fpa.SCS(), stack([dense(seen, access, self.units, self.depth, jax.random.key(seed))])),
            distribution,
            TruncatedWindows(tuple((start, _WINDOW) for start in (0, *access))),
            jax.random.fold_in(key, 1),
            num_updates=self.updates,
            batch_size=self.batch,
            optimizer=optax.chain(optax.clip_by_global_norm(_LONGEST), optax.adam(self.rate)),
            validation=validation,
            checkpoint=checkpoint,
        )
        each = history.seconds / self.updates
        return [
            _record(done, done * self.batch, done * each, float(score[0]))
            for done, score in zip(history.scored, history.scores, strict=True)
        ]


@dataclass(frozen=True)
class Staged:
    """This study's way, from nothing for each share in `lengths` of the recipe's updates and of its pool."""

    recipe: staged.Recipe
    lengths: list[float]

    def run(
        self, distribution: fpa.AbstractConeDistribution, seed: int, validation: LastResidual, checkpoint: Path
    ) -> list[dict[str, Any]]:
        """A record for each length; the seconds include the solutions that the networks are fitted to."""
        return [self._train(distribution, seed, validation, length, checkpoint) for length in self.lengths]

    def _train(self, distribution, seed, validation, length, checkpoint) -> dict[str, Any]:
        full, family = self.recipe, variants.family_of(distribution)
        pool, first, later = (max(round(length * n), 1) for n in (full.pool, full.first_updates, full.updates))
        recipe = dataclasses.replace(full, pool=pool, first_updates=first, updates=later)
        done = first + later * len(full.access)
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=checkpoint.parent) as folder:
            solvers, _ = staged.train(family, distribution, recipe, seed, Path(folder) / checkpoint.name)
        seconds = time.perf_counter() - begun
        score = float(np.mean([validation.of(solver, distribution) for solver in solvers]))
        return _record(done, pool, seconds, score)


def _record(updates: int, instances: int, seconds: float, score: float) -> dict[str, Any]:
    return {"updates": updates, "instances": instances, "seconds": round(seconds, 2), "residual": float(np.exp(score))}


def run(
    panels: Sequence[str],
    ways: Mapping[str, Windows | Staged],
    datasets: int,
    seed: int,
    validation: LastResidual,
) -> list[dict[str, Any]]:
    """The records of all ways on all datasets of the panels, with plain SCS's residual beside the model's.

    Each training is stored once it has ended, so that an interrupted call goes on with the next. Seconds are those on
    the clock, and another run may be executed beside.
    """
    rows = []
    for panel in panels:
        variant, name = PANELS[panel]
        for index, distribution in enumerate(variants.VARIANTS[variant].panels[name].distributions(seed, datasets)):
            plain = float(np.exp(validation.of(fpa.Solver(), distribution)))
            for recipe, way in ways.items():
                config = {"panel": panel, "dataset": index, "seed": seed, "way": repr(way), "scored": repr(validation)}
                train = functools.partial(way.run, distribution, seed, validation)
                records = _once(f"learning/{recipe}", train, config)
                place = {"recipe": recipe, "panel": panel, "dataset": index, "SCS": plain}
                rows += [place | record for record in records]
    return rows


def _once(name: str, train: Callable[[Path], Any], config: Mapping[str, Any]) -> Any:
    """`train(checkpoint)`, stored; the checkpoint is removed with the end of training."""
    checkpoint = find_root() / ".store" / "results" / f"{name}-{make_key(name, config, [__name__])}.checkpoint"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    records = cached(name, lambda: train(checkpoint), config=config, code=[__name__])
    checkpoint.unlink(missing_ok=True)
    return records
