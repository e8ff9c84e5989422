"""Networks, in single precision whatever the solver's."""

import functools
import math
from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.accelerators.features import Features, Normalizer

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "elu": jax.nn.elu, "silu": jax.nn.silu}


class Linear(eqx.Module):
    """x -> x W_1 ... W_k + bias on the last axis.

    With k > 1 it is overparametrised (Section 5.2; Arora et al., 2018): the same functions, other gradients.
    """

    factors: tuple[Float[Array, "_ _"], ...]
    bias: Float[Array, " out"]

    def __init__(self, key: PRNGKeyArray, num_in: int, num_out: int, factors: int = 1, gain: float = 1.0):
        if min(num_in, num_out, factors) < 1:
            raise ValueError(f"Linear: sizes and factors must be positive, got {(num_in, num_out, factors)}.")
        shapes = [(num_in, num_out), *[(num_out, num_out)] * (factors - 1)]
        keys = jax.random.split(key, factors)
        scales = jnp.asarray([gain / math.sqrt(num_in), *[1 / math.sqrt(num_out)] * (factors - 1)], jnp.float32)
        self.factors = tuple(
            _normal(k, shape, jnp.float32(scale)) for k, shape, scale in zip(keys, shapes, scales, strict=True)
        )
        self.bias = jnp.zeros((num_out,), jnp.float32)

    def __call__(self, x: Float[Array, "*_ in"]) -> Float[Array, "*_ out"]:
        for factor in self.factors:
            x = x @ factor
        return x + self.bias

    def collapsed(self) -> "Linear":
        """The same function with one factor."""
        product = self.factors[0]
        for factor in self.factors[1:]:
            product = product @ factor
        return eqx.tree_at(lambda layer: layer.factors, self, (product,))


@functools.partial(jax.jit, static_argnums=1)
def _normal(key: PRNGKeyArray, shape: tuple[int, ...], scale: Float[Array, ""]) -> Array:
    return scale * jax.random.normal(key, shape, jnp.float32)


def collapse(module):
    """The module with every overparametrised layer multiplied out: the same function, fewer numbers."""
    return jax.tree.map(
        lambda node: node.collapsed() if hasattr(node, "collapsed") else node,
        module,
        is_leaf=lambda node: hasattr(node, "collapsed"),
    )


class MLP(eqx.Module):
    """`depth` hidden layers of `width` units; the last axis is mapped, others are kept.

    The last layer's weights are divided by `weight_scaling` at the start. `factors` is the number of matrices per
    hidden and output layer, the first excepted.
    """

    layers: tuple[Linear, ...]
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        num_in: int,
        num_out: int,
        width: int,
        depth: int,
        activation: str = "relu",
        factors: int = 1,
        weight_scaling: float = 1.0,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(f"MLP: there is no activation {activation!r}; there are {', '.join(ACTIVATIONS)}.")
        if depth < 0:
            raise ValueError(f"MLP: depth must not be negative, got {depth}.")
        if not weight_scaling > 0:
            raise ValueError(f"MLP: weight_scaling must be positive, got {weight_scaling}.")
        sizes = [num_in, *[width] * depth, num_out]
        keys = jax.random.split(key, depth + 1)
        self.layers = tuple(
            Linear(
                keys[k],
                sizes[k],
                sizes[k + 1],
                factors if k else 1,
                1 / weight_scaling if k == depth else math.sqrt(2),
            )
            for k in range(depth + 1)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, "*_ in"]) -> Float[Array, "*_ out"]:
        *hidden, last = self.layers
        for layer in hidden:
            x = ACTIVATIONS[self.activation](layer(x))
        return last(x)


class AbstractNetwork(eqx.Module):
    """A function from features to a vector of w's length."""

    @abstractmethod
    def __call__(self, features: Features) -> Float[Array, " w"]:
        """The answer, of the order of 1."""


class FlatNetwork(AbstractNetwork):
    """An MLP on all features as one standardised vector, as in the paper."""

    normalizer: Normalizer
    mlp: MLP

    def __call__(self, features):
        return self.mlp(self.normalizer(flatten(features)))


def flatten(features: Features) -> Float[Array, " features"]:
    """All features as one vector."""
    return jnp.concatenate([features.vectors.ravel(), features.scalars, features.context])
