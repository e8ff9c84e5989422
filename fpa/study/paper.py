"""The paper's own models: dense networks on one vector, with every hyperparameter of its Tables 3 and 4.

A `choice` maps the tables' entries to values; `RECURRENT` and `INTERMITTENT` are the tables, `draw` takes a random
choice from one. "3-layer" means three hidden layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators import (
    GRU,
    LSTM,
    MLP,
    Correction,
    FlatNetwork,
    FlatRecurrent,
    Initializer,
    Intermittent,
    Normalizer,
    Recurrent,
)
from fpa.accelerators.features import FeatureNormalizer, Features
from fpa.accelerators.networks import flatten
from fpa.accelerators.recurrent import iterates
from fpa.training import Calibration, TruncatedWindows, Unrolled

CELLS = {"LSTM": LSTM, "GRU": GRU}
_UNITS = [128, 256, 512, 1024]
_ACTIVATIONS = ["relu", "tanh", "elu"]
_BETAS = [0.1, 0.5, 0.7, 0.9]


@dataclass(frozen=True)
class Among:
    """A list of values, all alike."""

    values: list[Any]

    def draw(self, rng: np.random.Generator) -> Any:
        """One of them."""
        return self.values[rng.integers(len(self.values))]


@dataclass(frozen=True)
class Between:
    """The ends of a range, even on a logarithmic axis."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """A number in it."""
        return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))


RECURRENT: Mapping[str, Any] = {
    "learning rate": Between(1e-4, 1e-2),
    "beta_1": Among(_BETAS),
    "beta_2": Among([*_BETAS, 0.99, 0.999]),
    "cosine decay": Among([True, False]),
    "max gradient": Among([10.0, 100.0]),
    "initial hidden state": Among([True, False]),
    "initial iterate": Among([True, False]),
    "initializer units": Among(_UNITS),
    "initializer activation": Among(_ACTIVATIONS),
    "initializer depth": Among([0, 1, 2, 3, 4]),
    "encoder units": Among(_UNITS),
    "encoder activation": Among(_ACTIVATIONS),
    "encoder depth": Among([0, 1, 2, 3, 4]),
    "decoder units": Among(_UNITS),
    "decoder activation": Among(_ACTIVATIONS),
    "decoder depth": Among([0, 1, 2, 3, 4]),
    "weight scaling": Between(2.0, 128.0),
    "cell": Among(list(CELLS)),
    "cell units": Among(_UNITS),
    "cell depth": Among([1, 2, 3, 4]),
}
INTERMITTENT: Mapping[str, Any] = {
    "learning rate": Between(1e-4, 1e-2),
    "beta_1": Among([0.9]),
    "beta_2": Among([0.999]),
    "cosine decay": Among([False]),
    "max gradient": Among([100.0]),
    "factors": Among([1, 2, 3, 4, 5]),
    "units": Among([1024, 1280, 2560, 5120, 7680, 10240, 15000]),
    "activation": Among(["relu"]),
    "depth": Among([2, 3, 4]),
    "access": Among(
        [
            (1, 2, 5, 10, 15),
            (1, 2, 5, 10, 20),
            (1, 5, 10, 20, 30),
            (2, 8, 15, 30, 40),
            (3, 6, 9, 12, 15),
            (5, 10, 15, 20, 25),
            (10, 20, 30, 40),
        ]
    ),
    "interval": Among([1.0, 1.5, 2.0, 3.0]),
}
BATCHES = {
    "recurrent": {"lasso": [16, 32, 64, 128], "kalman": [5, 10, 25, 50]},
    "intermittent": {"lasso": [32, 64, 128], "kalman": [25, 50]},
}


def draw(table: Mapping[str, Any], rng: np.random.Generator, largest: int) -> dict[str, Any]:
    """A random choice from a table, with no layer wider than `largest`."""
    choice = {}
    for name, values in table.items():
        choice[name] = values.draw(rng)
        if name.endswith("units"):
            choice[name] = min(choice[name], largest)
    return choice


def optimizer(choice: Mapping[str, Any], updates: int) -> optax.GradientTransformation:
    """Adam and clipping as chosen."""
    rate = choice["learning rate"]
    schedule = optax.cosine_decay_schedule(rate, updates) if choice["cosine decay"] else rate
    adam = optax.adam(schedule, b1=choice["beta_1"], b2=choice["beta_2"])
    return optax.chain(optax.clip_by_global_norm(choice["max gradient"]), adam)


def recurrent(calibration: Calibration, choice: Mapping[str, Any], on_u: Array, key: PRNGKeyArray) -> Recurrent:
    """Section 4: encoder, cell and decoder, and an initializer of iterate and hidden state where chosen.

    `on_u` is 1 on what is predicted: x and y, for s belongs to v.
    """
    keys = jax.random.split(key, 5)
    size = calibration.unit.size
    cell = CELLS[choice["cell"]](keys[0], choice["encoder units"], choice["cell units"], choice["cell depth"])
    first, later = flat(calibration.first), flat(calibration.later, only_iterates=True)

    def initial(key, num_out):
        sizes = choice["initializer units"], choice["initializer depth"], choice["initializer activation"]
        return FlatNetwork(first, MLP(key, first.mean.size, num_out, *sizes))

    shape = choice["encoder units"], choice["encoder depth"], choice["encoder activation"]
    network = FlatRecurrent(
        hidden=initial(keys[1], int(np.prod(cell.shape))) if choice["initial hidden state"] else None,
        normalizer=later,
        encoder=MLP(keys[2], later.mean.size, choice["encoder units"], *shape),
        cell=cell,
        decoder=MLP(
            keys[3],
            choice["cell units"],
            size,
            choice["decoder units"],
            choice["decoder depth"],
            choice["decoder activation"],
            weight_scaling=choice["weight scaling"],
        ),
    )
    start = Initializer(initial(keys[4], size), calibration.solutions, calibration.tau)
    return Recurrent(start if choice["initial iterate"] else None, network, on_u * calibration.unit, calibration.tau)


def intermittent(calibration: Calibration, choice: Mapping[str, Any], key: PRNGKeyArray) -> Intermittent:
    """Section 5: one MLP for g_init and one for g_acc, which is told the access; `factors` overparametrises them.

    `calibration` is for `told(access)` stages.
    """
    keys = jax.random.split(key)
    access, size = tuple(choice["access"]), calibration.unit.size

    def network(key, normalizer: Normalizer, units: int):
        sizes = units, choice["depth"], choice["activation"]
        return FlatNetwork(normalizer, MLP(key, normalizer.mean.size, size, *sizes, factors=choice["factors"]))

    first = network(keys[0], flat(calibration.first), choice.get("initializer units", choice["units"]))
    initializer = Initializer(first, calibration.solutions, calibration.tau)
    networks = (network(keys[1], flat(calibration.later), choice["units"]),)
    return Intermittent(initializer, Correction(networks, calibration.unit[None], calibration.tau, len(access)), access)


def told(access: tuple[int, ...]) -> int:
    """How many accesses the one network for all has to be told apart, for `fpa.calibrate`."""
    return len(access) if len(access) > 1 else 0


def unrolled(num_steps: int = 50) -> Unrolled:
    """Equation (7)."""
    return Unrolled(num_steps)


def windows(access: tuple[int, ...], interval: float, last: int = 20) -> TruncatedWindows:
    """Section 5.1: windows of `interval` times the gap to the next access, and of `last` maps after the last one."""
    starts = (0, *access)
    gaps = [*np.diff(starts), last / interval]
    return TruncatedWindows(tuple((s, max(int(interval * gap), 1)) for s, gap in zip(starts, gaps, strict=True)))


def flat(normalizer: FeatureNormalizer, only_iterates: bool = False) -> Normalizer:
    """The normaliser of all features as one vector, or of f(z), f(z) - z and the scalars."""
    parts = normalizer.vectors, normalizer.scalars, normalizer.context
    as_vector = iterates if only_iterates else flatten

    def vector(field: str) -> Float[Array, " features"]:
        return as_vector(Features(*(getattr(part, field) for part in parts)))

    return Normalizer(vector("mean"), vector("scale"))
