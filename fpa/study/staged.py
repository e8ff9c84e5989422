"""How the study trains small intermittent models (Algorithm 2): the recipe of `intermittent`, faster.

Stage by stage, g_init first, each network is fitted to the distance to the solution right after it, on examples that
are computed once per stage. Where the matrix does not vary, networks are dense (`GatedNetwork`), else they share
their weights over the sites of the layout.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

import fpa
from fpa.accelerators import Correction, GatedNetwork, Initializer, Intermittent, SiteNetwork, SiteTrunk
from fpa.accelerators.features import FeatureNormalizer
from fpa.study.families import Family
from fpa.study.schedules import adam
from fpa.study.writing import atomic
from fpa.training import Calibration, calibrate, calibrate_access, draw_pool, stack
from fpa.training.examples import access_examples, first_examples, regress
from fpa.training.pools import Pool, advance

# Which vectors dense networks read, besides what varies: g_init both of the data, the others the last step.
_DATA, _STEP = (0, 1), (1,)


@dataclass(frozen=True)
class Recipe:
    """Sizes and schedule.

    `depths` are those of g_init and of the networks after it, and `bits` the significant bits their weights keep: at
    most 11, half precision.
    """

    access: list[int]
    seeds: int
    pool: int
    calibration: int
    first_updates: int
    updates: int
    batch: int
    rate: float
    width: int
    hidden: int
    depths: list[int]
    bits: int

    def with_seeds(self, seeds: int) -> "Recipe":
        """The same recipe for another number of models."""
        return dataclasses.replace(self, seeds=seeds)


def train(
    family: Family, distribution: fpa.AbstractConeDistribution, recipe: Recipe, seed: int, checkpoint: Path
) -> tuple[list[fpa.Solver], list[float]]:
    """`recipe.seeds` trained models, their weights rounded, and the mean loss that ended each stage.

    A finished model is kept beside `checkpoint`, from where the same call goes on.
    """
    keys = jax.random.split(fpa.role_key(seed, "train"), 3)
    files = [checkpoint.with_suffix(f".{member}.checkpoint") for member in range(recipe.seeds)]
    missing = [member for member, file in enumerate(files) if not file.is_file()]
    if missing:
        options = {"num_instances": recipe.calibration}
        calibration = calibrate(fpa.SCS(), distribution, keys[0], family.reference, **options)
        pool = draw_pool(distribution, family.regression(distribution), keys[1], recipe.pool)
        for member in missing:
            key = jax.random.fold_in(keys[2], member)
            model, losses = _grow(family, distribution, recipe, calibration, pool, key)
            with atomic(files[member]) as temporary:
                fpa.save(temporary, fpa.Solver(fpa.SCS(), model), note={"losses": losses})
    losses = [fpa.read_header(file)["note"]["losses"] for file in files]
    return [fpa.load(file) for file in files], np.mean(losses, axis=0).tolist()


def _grow(
    family: Family,
    distribution: fpa.AbstractConeDistribution,
    recipe: Recipe,
    calibration: Calibration,
    pool: Pool,
    key: PRNGKeyArray,
) -> tuple[Intermittent, list[float]]:
    """One model from nothing, network by network."""
    build = _Build(family, distribution, recipe)
    weights = family.regression(distribution).weights
    size = calibration.unit.size
    initializer = Initializer(build(key, calibration.first, 0), calibration.solutions, calibration.tau)
    examples = first_examples(fpa.SCS(), distribution, pool, initializer)
    network, loss = _fit(initializer.network, examples, weights, key, recipe, 0)
    initializer = Initializer(network, calibration.solutions, calibration.tau)
    model = Intermittent(initializer, Correction((), jnp.zeros((0, size), jnp.float32), calibration.tau, 0), ())
    losses, done = [loss], 0
    for stage, access in enumerate(recipe.access, start=1):
        pool = advance(fpa.Solver(fpa.SCS(), stack([model])), distribution, pool, done, access)
        seen, units = calibrate_access(fpa.SCS(), distribution, pool, recipe.calibration)
        examples = access_examples(fpa.SCS(), distribution, pool, units[0])
        key = jax.random.fold_in(key, stage)
        network, loss = _fit(build(key, fpa.member(seen, 0), stage), examples, weights, key, recipe, access)
        before = model.correction
        correction = Correction(
            (*before.networks, network), jnp.concatenate([before.units, units[:1]]), before.tau, stage
        )
        model = Intermittent(initializer, correction, (*model.access, access))
        losses.append(loss)
        done = access
    return model, losses


def _fit(network, examples, weights, key, recipe: Recipe, access: int) -> tuple[Any, float]:
    updates = recipe.updates if access else recipe.first_updates
    network, losses = regress(
        network,
        examples,
        weights,
        key,
        num_updates=updates,
        batch_size=recipe.batch,
        optimizer=adam(recipe.rate, updates),
        description=f"train the access at {access}" if access else "train the initializer",
    )
    return rounded(network, recipe.bits), float(losses[-100:].mean())


def rounded(network: Any, bits: int) -> Any:
    """The network with matrices of `bits` significant bits and vectors in half precision; both are small in a file."""

    def coarse(leaf):
        if not eqx.is_inexact_array(leaf) or leaf.ndim < 2:
            return leaf
        mantissa, exponent = np.frexp(np.asarray(leaf))
        return jnp.asarray(np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent), leaf.dtype)

    return fpa.halved(jax.tree.map(coarse, network))


class _Build:
    """Makes the untrained networks of a family."""

    def __init__(self, family: Family, distribution: fpa.AbstractConeDistribution, recipe: Recipe):
        self.fixed = distribution.canonical.A.positions.size == 0
        self.layout = None if self.fixed else family.layout(distribution)
        self.ordered, self.recipe = family.ordered, recipe

    def __call__(self, key: PRNGKeyArray, seen: FeatureNormalizer, stage: int):
        depth = self.recipe.depths[bool(stage)]
        if self.layout is None:
            return GatedNetwork(key, seen, _STEP if stage else _DATA, self.recipe.width, self.recipe.hidden, depth)
        sizes = (self.recipe.width, self.recipe.hidden, depth)
        return SiteNetwork(SiteTrunk(key, self.layout, seen, self.ordered, *sizes))
