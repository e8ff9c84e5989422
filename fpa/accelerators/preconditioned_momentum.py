"""Learned preconditioner and momentum for the proximal gradient method (Liu et al., 2023: L2O-PA)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators.base import AbstractAccelerator
from fpa.accelerators.coordinatewise import Coordinatewise, standing_state
from fpa.programs import Point

VARIANTS = {
    "PBA12": ("p", "a", "b", "b1", "b2"),
    "PBA1": ("p", "a", "b", "b1"),
    "PBA2": ("p", "a", "b", "b2"),
    "PBA": ("p", "a", "b"),
    "PA": ("p", "a"),
    "P": ("p",),
    "A": ("a",),
}
"""What is learned in each variant of the ablation; the rest stays at `neutral`."""


class Coefficients(eqx.Module):
    """The vectors of rule (18): preconditioner p, momentum a, balance b, biases b1 and b2."""

    p: Float[Array, " n"]
    a: Float[Array, " n"]
    b: Float[Array, " n"]
    b1: Float[Array, " n"]
    b2: Float[Array, " n"]


def neutral(p: Float[Array, " n"]) -> Coefficients:
    """No momentum, no biases, and the step from y alone: the proximal gradient step with step sizes p."""
    zero = jnp.zeros_like(p)
    return Coefficients(p, zero, zero + 1, zero, zero)


def advance(
    op: Any, x: Array, y: Array, gradient: Array, c: Coefficients, balanced: bool
) -> tuple[Array, Array, Point]:
    """Rule (18): the next x and y, and the point of x.

    x+ = prox_{r,p}((1 - b)(x - p grad f(x)) + b (y - p grad f(y)) - b1), y+ = x+ + a (x+ - x) + b2. `gradient` is
    that of f at y; unless `balanced`, b = 1 and the gradient at x is not needed.
    """
    v = y - c.p * gradient
    if balanced:
        v = (1 - c.b) * (x - c.p * op.gradient(x)) + c.b * v
    x_next, point = op.in_metric(c.p).backward(v - c.b1)
    return x_next, x_next + c.a * (x_next - x) + c.b2, point


class MomentumState(eqx.Module):
    """x_k of rule (18), whose y_k is the iterate, and the hidden state of every coordinate."""

    x: Float[Array, " n"]
    hidden: Float[Array, "n depth parts units"]


class PreconditionedMomentum(AbstractAccelerator):
    """Rule (18), with those of its vectors that `variant` names read off a recurrent network, coordinate by coordinate.

    One network serves all coordinates, so it runs on problems of any size. It sees y_k and the gradient of f there,
    and no gradient flows through what it sees. Hidden states start standard normal, drawn for every coordinate from a
    seed that the instance's data give. With `bounded`, p lies in (0, 2 s), s the step of the map, and a in (0, 2);
    else p and a only are positive, 2 s and 0.3 times a softplus. `positive_biases` lets the biases be in (0, 2) only,
    as in the released code, where they are free in the paper. The map has to take a metric: `ProximalGradient`.
    One application of the map per step, and one more gradient where b is learned.
    """

    network: Coordinatewise
    variant: str = eqx.field(static=True)
    bounded: bool = eqx.field(static=True, default=True)
    positive_biases: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.variant not in VARIANTS:
            raise ValueError(
                f"PreconditionedMomentum: there is no variant {self.variant!r}; there are {', '.join(VARIANTS)}."
            )
        if self.network.num_out != len(VARIANTS[self.variant]):
            raise ValueError(
                f"PreconditionedMomentum: {self.variant} needs {len(VARIANTS[self.variant])} answers per coordinate, "
                f"the network gives {self.network.num_out}."
            )

    def init(self, op: Any, start=None):
        if not hasattr(op, "in_metric"):
            raise ValueError(f"PreconditionedMomentum needs a map that takes a metric, not {type(op).__name__}.")
        z = op.initial() if start is None else start
        return z, MomentumState(z, standing_state(self.network.cell, op.gradient(jnp.zeros_like(z))))

    def step(self, op: Any, z, state):
        gradient = op.gradient(z)
        answers, hidden = self.network(jnp.stack([gradient, z], axis=1), state.hidden)
        coefficients = self.coefficients(op.p, answers.astype(z.dtype))
        balanced = "b" in VARIANTS[self.variant]
        x, z_next, point = advance(op, state.x, z, gradient, coefficients, balanced)
        return z_next, MomentumState(x, hidden), x, point

    def coefficients(self, step: Float[Array, " n"], answers: Float[Array, "n out"]) -> Coefficients:
        """The vectors of rule (18) from the network's answers; `step` is that of the map."""
        shapes = {name: self._shape(name) for name in VARIANTS[self.variant]}
        learned = {name: shape(answers[:, k]) for k, (name, shape) in enumerate(shapes.items())}
        if "p" in learned:
            learned["p"] = step * learned["p"]
        usual = neutral(step)
        names = ("p", "a", "b", "b1", "b2")
        return Coefficients(*(learned.get(name, getattr(usual, name)) for name in names))

    def _shape(self, name: str):
        """From an answer to the range of a vector; a vector in units of the step for p."""
        if name in ("b1", "b2") and not self.positive_biases:
            return lambda answer: answer
        if name in ("p", "a") and not self.bounded:
            return lambda answer: (2.0 if name == "p" else 0.3) * jax.nn.softplus(answer)
        return lambda answer: 2 * jax.nn.sigmoid(answer)

    @property
    def boundaries(self):
        return ()

    def cross(self, op, z, state, iteration):
        return z, state


def preconditioned_momentum(
    key: PRNGKeyArray,
    variant: str = "PA",
    units: int = 20,
    depth: int = 2,
    bounded: bool = True,
    positive_biases: bool = False,
) -> PreconditionedMomentum:
    """An untrained model: an LSTM of `depth` layers of `units`, a hidden layer, and one answer for each vector."""
    outputs = len(VARIANTS.get(variant, "?"))
    return PreconditionedMomentum(Coordinatewise(key, 2, outputs, units, depth), variant, bounded, positive_biases)
