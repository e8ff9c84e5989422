"""Methods that follow a subgradient: Adam, Adam with a learned rate, and recurrent networks in Adam's place."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators.base import AbstractSteady, Iterate, State
from fpa.accelerators.coordinatewise import Coordinatewise, standing_state


class AbstractDescent(AbstractSteady):
    """z_next = z + direction, from the subgradient g = z - f(z) of the map `Subgradient`. The point is z_next."""

    @abstractmethod
    def begin(self, z: Iterate, g: Iterate) -> State:
        """The first state, from z and the gradient of the smooth part there, which only seeds what is drawn."""

    @abstractmethod
    def direction(self, z: Iterate, g: Iterate, state: State) -> tuple[Iterate, State]:
        """Where to go from z, and the next state."""

    def init(self, op: Any, start=None):
        if not hasattr(op, "at"):
            raise ValueError(f"{type(self).__name__} needs the map of Subgradient, not {type(op).__name__}.")
        z = op.initial() if start is None else start
        return z, self.begin(z, op.program.smooth.gradient(z))

    def step(self, op: Any, z, state):
        fz, _ = op(z)
        direction, state = self.direction(z, z - fz, state)
        z_next = z + direction
        return z_next, state, fz, op.at(z_next)


class Moments(eqx.Module):
    """Running means of g and g^2, the products of their decay rates, and the step size with the last direction."""

    m: Float[Array, " z"]
    v: Float[Array, " z"]
    decay_m: Float[Array, ""]
    decay_v: Float[Array, ""]
    rate: Float[Array, ""]
    last: Float[Array, " z"]


class Adam(AbstractDescent):
    """Adam (Kingma and Ba, 2015) on subgradients, one step size for all iterations unless `hyper` is positive.

    With `hyper` the step size follows its own gradient, rate += hyper g'm/sqrt(v) of the step before (Baydin et al.,
    2018, AdamHD), and stays above 1e-8.
    """

    rate: float | Float[Array, ""] = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    hyper: float | Float[Array, ""] = 0.0
    eps: float = eqx.field(static=True, default=1e-8)

    def begin(self, z, g):
        zero, one = jnp.zeros_like(z), jnp.ones((), z.dtype)
        return Moments(zero, zero, one, one, one * self.rate, zero)

    def direction(self, z, g, state):
        b1, b2 = self.betas
        m, v = b1 * state.m + (1 - b1) * g, b2 * state.v + (1 - b2) * g**2
        decay_m, decay_v = b1 * state.decay_m, b2 * state.decay_v
        rate = jnp.maximum(state.rate + self.hyper * jnp.vdot(g, state.last), 1e-8)
        unit = m / (1 - decay_m) / (jnp.sqrt(v / (1 - decay_v)) + self.eps)
        return -rate * unit, Moments(m, v, decay_m, decay_v, rate, unit)


class LearnedDescent(AbstractDescent):
    """z_next = z + 0.1 elu(N(g, z)) with a recurrent network N per coordinate (Andrychowicz et al., 2016: L2O-DM)."""

    network: Coordinatewise

    def begin(self, z, g):
        return standing_state(self.network.cell, g)

    def direction(self, z, g, state):
        answers, state = self.network(jnp.stack([g, z], axis=1), state)
        return 0.1 * jax.nn.elu(answers[:, 0]).astype(z.dtype), state


class RNNprop(AbstractDescent):
    """z_next = z - 0.1 tanh(N(g / sqrt(v), m / sqrt(v))) with Adam's running means m and v (Lv et al., 2017).

    `spread` is that of the first hidden states.
    """

    network: Coordinatewise
    spread: float = eqx.field(static=True, default=1.0)
    beta: float = eqx.field(static=True, default=0.95)

    def begin(self, z, g) -> Any:
        zero, one = jnp.zeros_like(z), jnp.ones((), z.dtype)
        return Moments(zero, zero, one, one, one, zero), standing_state(self.network.cell, g, self.spread)

    def direction(self, z, g, state):
        moments, hidden = state
        m, v = (self.beta * old + (1 - self.beta) * new for old, new in ((moments.m, g), (moments.v, g**2)))
        decay = self.beta * moments.decay_m
        root = jnp.sqrt(v / (1 - decay)) + 1e-8
        seen = jax.lax.stop_gradient(jnp.stack([g / root, m / (1 - decay) / root], axis=1))
        answers, hidden = self.network(seen, hidden)
        moments = Moments(m, v, decay, decay, moments.rate, moments.last)
        return -0.1 * jnp.tanh(answers[:, 0]).astype(z.dtype), (moments, hidden)


def learned_descent(key: PRNGKeyArray, units: int = 20, depth: int = 2) -> LearnedDescent:
    """An untrained L2O-DM."""
    return LearnedDescent(Coordinatewise(key, 2, 1, units, depth, hidden=False))


def rnnprop(key: PRNGKeyArray, units: int = 20, depth: int = 2, spread: float = 1.0) -> RNNprop:
    """An untrained RNNprop."""
    return RNNprop(Coordinatewise(key, 2, 1, units, depth, encoded=True, hidden=False, activation="elu"), spread)
