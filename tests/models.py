"""Small learned accelerators for tests, untrained or with random answers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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
    SiteNetwork,
    SiteRecurrent,
    SiteTrunk,
    UnnormalizedRecurrent,
)
from fpa.accelerators.features import FeatureNormalizer, Features, first_features, step_features
from fpa.distributions import Lasso, RobustKalman
from fpa.layouts import Layout, site_layout
from fpa.maps import SCS

LASSO = Lasso(p=3, q=4)
KALMAN = RobustKalman(num_steps=4)


def kalman_layout(num_steps: int = 4) -> Layout:
    """Time steps as sites."""
    step = np.arange(num_steps + 1)
    labels = {"x": np.tile(step, (4, 1))} | {name: np.tile(step[:-1], (2, 1)) for name in "wvy"}
    return site_layout(RobustKalman(num_steps=num_steps).canonical, [labels])


def standard(shapes: Features) -> FeatureNormalizer:
    """Normalisers that change nothing, for features of these shapes."""
    parts = (shapes.vectors.shape, shapes.scalars.shape, shapes.context.shape)
    return FeatureNormalizer(*(Normalizer(jnp.zeros(s, jnp.float32), jnp.ones(s, jnp.float32)) for s in parts))


def shapes(op, stages: int, history: int = 2) -> tuple[Features, Features]:
    """The shapes of what g_init and g_acc see of a map."""
    w = op.coordinates(op.initial())
    past = jnp.zeros((history, w.size))
    later = jax.eval_shape(lambda: step_features(op, w, past, jnp.zeros(stages))[0])
    return jax.eval_shape(lambda: first_features(op)), later


def flat(key, features: Features, num_out: int, width: int = 8, factors: int = 1) -> FlatNetwork:
    """An MLP on all features."""
    size = sum(leaf.size for leaf in jax.tree.leaves(features))
    normalizer = Normalizer(jnp.zeros(size, jnp.float32), jnp.ones(size, jnp.float32))
    return FlatNetwork(normalizer, MLP(key, size, num_out, width, 1, factors=factors))


def intermittent(op, seed: int = 0, access=(1, 2, 5), factors: int = 1, tau: float = 1.0) -> Intermittent:
    """Random MLPs: g_init, and one g_acc per access."""
    keys = jax.random.split(jax.random.key(seed), len(access) + 1)
    size = op.coordinates(op.initial()).size
    first, later = shapes(op, 0)
    units, scale = jnp.full((len(access), size), 0.1, jnp.float32), jnp.asarray(tau, jnp.float32)
    solutions = Normalizer(jnp.zeros(size, jnp.float32), jnp.ones(size, jnp.float32))
    networks = tuple(flat(k, later, size, factors=factors) for k in keys[1:])
    initializer = Initializer(flat(keys[0], first, size, factors=factors), solutions, scale)
    return Intermittent(initializer, Correction(networks, units, scale, len(access)), tuple(access))


def intermittent_sites(seed: int = 0, access=(1, 3)) -> Intermittent:
    """Networks over time steps, the same at every access, for `KALMAN`; untrained: it is plain iteration."""
    op = bound(KALMAN)
    keys = jax.random.split(jax.random.key(seed))
    first, later = (standard(s) for s in shapes(op, len(access)))
    size = op.data.shape[1]
    solutions = Normalizer(jnp.zeros(size, jnp.float32), jnp.ones(size, jnp.float32))
    tau = jnp.asarray(1.0, jnp.float32)
    initializer = Initializer(_site_network(keys[0], first), solutions, tau)
    networks = (_site_network(keys[1], later),)
    units = jnp.ones((1, size), jnp.float32)
    return Intermittent(initializer, Correction(networks, units, tau, len(access)), tuple(access))


def _site_network(key, normalizer: FeatureNormalizer) -> SiteNetwork:
    return SiteNetwork(SiteTrunk(key, kalman_layout(), normalizer, (True, False), 8, 8, 1, 2))


def recurrent(op, kind: str = "LSTM", seed: int = 0, units: int = 6, depth: int = 2, tau: float = 1.0) -> Recurrent:
    """Random encoder, cell and decoder, and a random initializer of iterate and hidden state."""
    keys = jax.random.split(jax.random.key(seed), 5)
    size = op.coordinates(op.initial()).size
    first, later = shapes(op, 0, 1)
    seen = 2 * size + later.scalars.shape[0]
    cell = {"LSTM": LSTM, "GRU": GRU}[kind](keys[0], 5, units, depth)
    scale = jnp.asarray(tau, jnp.float32)
    solutions = Normalizer(jnp.zeros(size, jnp.float32), jnp.ones(size, jnp.float32))
    network = FlatRecurrent(
        hidden=flat(keys[2], first, int(np.prod(cell.shape))),
        normalizer=Normalizer(jnp.zeros(seen, jnp.float32), jnp.ones(seen, jnp.float32)),
        encoder=MLP(keys[3], seen, 5, 8, 1),
        cell=cell,
        decoder=MLP(keys[4], units, size, 8, 1),
    )
    initializer = Initializer(flat(keys[1], first, size), solutions, scale)
    return Recurrent(initializer, network, jnp.full((size,), 0.1, jnp.float32), scale)


def recurrent_sites(seed: int = 0) -> Recurrent:
    """A GRU at every time step of `KALMAN`; untrained: it is plain iteration."""
    op = bound(KALMAN)
    later = standard(shapes(op, 0, 1)[1])
    network = SiteRecurrent(jax.random.key(seed), kalman_layout(), later, (True, False), 8, 8, 1, 2)
    return Recurrent(None, network, jnp.ones(op.data.shape[1], jnp.float32), jnp.asarray(1.0, jnp.float32))


def unnormalized(op, seed: int = 0, units: int = 6) -> UnnormalizedRecurrent:
    """Random encoder, cell and decoder, which see raw iterates and correct all of them."""
    keys = jax.random.split(jax.random.key(seed), 3)
    size = op.initial().size
    network = FlatRecurrent(
        hidden=None,
        normalizer=Normalizer(jnp.zeros(2 * size, jnp.float32), jnp.ones(2 * size, jnp.float32)),
        encoder=MLP(keys[0], 2 * size, 5, 8, 1),
        cell=GRU(keys[1], 5, units, 1),
        decoder=MLP(keys[2], units, size, 8, 1),
    )
    return UnnormalizedRecurrent(network, jnp.full((size,), 0.1, jnp.float32))


def draw(distribution, seed: int = 0):
    """The program of one instance."""
    return _draw(distribution, jax.random.key(seed))


@eqx.filter_jit
def _draw(distribution, key):
    return distribution.program(distribution.sample(key))


def bound(distribution, seed: int = 0):
    """SCS bound to one instance."""
    return _bind(SCS(), draw(distribution, seed))


_bind = eqx.filter_jit(lambda splitting, program: splitting.bind(program))
