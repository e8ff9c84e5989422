"""Learned preconditioner and momentum for the proximal gradient method (Liu et al., 2023: L2O-PA)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators.base import AbstractSteady
from fpa.accelerators.coordinatewise import Coordinatewise, standing_state
from fpa.programs import Point

NAMES = ("p", "a", "b", "b1", "b2")
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


class PreconditionedMomentum(AbstractSteady):
    """Rule (18), with those of its vectors that are `learned` read off a recurrent network, coordinate by coordinate.

    One network serves all coordinates, so it runs on problems of any size. It sees y_k and the gradient of f there,
    and no gradient flows through what it sees. Hidden states start standard normal, drawn for every coordinate from a
    seed that the instance's data give. `learned` has a 1 for every learned vector, in the order of `NAMES`, else 0.

    With `bounded`, p lies in (0, 2 s), s the step of the map, and a in (0, 2); else p and a are only positive, 2 s and
    0.3 times a softplus. Biases are free, or in (0, 2) where `positive` is 1, as in the released code. The map has to
    take a metric: `ProximalGradient`. The f(z) of a step is that of the map itself, the point that of x_{k+1}. There is
    one gradient per step, and one more with `balanced`, without which b is 1.
    """

    network: Coordinatewise
    learned: Float[Array, " 5"]
    positive: Float[Array, ""]
    bounded: bool = eqx.field(static=True, default=True)
    balanced: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        if self.network.num_out != len(NAMES):
            raise ValueError(
                f"PreconditionedMomentum: the network has to give {len(NAMES)} answers per coordinate, "
                f"it gives {self.network.num_out}."
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
        x, z_next, point = advance(op, state.x, z, gradient, coefficients, self.balanced)
        plain, _ = op.backward(z - op.p * gradient)
        return z_next, MomentumState(x, hidden), plain, point

    def coefficients(self, step: Float[Array, " n"], answers: Float[Array, "n 5"]) -> Coefficients:
        """The vectors of rule (18) from the network's answers; `step` is that of the map."""
        learned, positive = jax.lax.stop_gradient((self.learned, self.positive))
        p, a, b, b1, b2 = answers.T
        sigmoid = lambda answer: 2 * jax.nn.sigmoid(answer)  # noqa: E731
        bias = lambda answer: jnp.where(positive > 0, sigmoid(answer), answer)  # noqa: E731
        if self.bounded:
            p, a = sigmoid(p), sigmoid(a)
        else:
            p, a = 2.0 * jax.nn.softplus(p), 0.3 * jax.nn.softplus(a)
        found, usual = Coefficients(step * p, a, sigmoid(b), bias(b1), bias(b2)), neutral(step)
        chosen = [jnp.where(learned[k] > 0, getattr(found, name), getattr(usual, name)) for k, name in enumerate(NAMES)]
        return Coefficients(*chosen)


def preconditioned_momentum(
    key: PRNGKeyArray,
    variant: str = "PA",
    units: int = 20,
    depth: int = 2,
    bounded: bool = True,
    positive: bool = False,
    balanced: bool | None = None,
) -> PreconditionedMomentum:
    """An untrained model: an LSTM of `depth` layers of `units`, a hidden layer, and five answers per coordinate.

    Models that are `balanced` can be stacked whatever their variants; by default those are that learn b.
    """
    if variant not in VARIANTS:
        raise ValueError(f"preconditioned_momentum: there is no variant {variant!r}; there are {', '.join(VARIANTS)}.")
    names = VARIANTS[variant]
    return PreconditionedMomentum(
        Coordinatewise(key, 2, len(NAMES), units, depth),
        jnp.asarray([float(name in names) for name in NAMES], jnp.float32),
        jnp.asarray(float(positive), jnp.float32),
        bounded,
        "b" in names if balanced is None else balanced,
    )
