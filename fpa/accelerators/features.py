"""What networks see of a solve, and how their answers become iterates.

Networks work in the map's coordinates w, (x, y, s) / tau of the equilibrated program for SCS, and in single
precision. A correction is measured in units of the present step ||w(f(z)) - w(z)||, so that it shrinks as the solve
converges and an untrained network that answers 0 is plain iteration.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.maps import AbstractFixedPointMap
from fpa.programs import norm

_SMALLEST_STEP = 1e-30


class Features(eqx.Module):
    """The input of a network: `vectors` of w's length, a few `scalars`, and the `context` of the instance."""

    vectors: Float[Array, "k w"]
    scalars: Float[Array, " c"]
    context: Float[Array, " p"]


class Normalizer(eqx.Module):
    """v -> (v - mean) / scale, entry by entry; fitted to data, not trained."""

    mean: Float[Array, "*shape"]
    scale: Float[Array, "*shape"]

    def __call__(self, v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        mean, scale = jax.lax.stop_gradient((self.mean, self.scale))
        return (v - mean) / jnp.where(scale > 0, scale, 1)

    def invert(self, v: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The inverse; entries without spread are the mean."""
        mean, scale = jax.lax.stop_gradient((self.mean, self.scale))
        return mean + scale * v


class FeatureNormalizer(eqx.Module):
    """A normaliser for each part of `Features`."""

    vectors: Normalizer
    scalars: Normalizer
    context: Normalizer


def first_features(op: AbstractFixedPointMap) -> Features:
    """What g_init sees: the data, the logarithms of the instance's scales, and the context."""
    return Features(*_single((op.data, op.scales, op.program.context)))


def step_features(
    op: AbstractFixedPointMap, w: Float[Array, " w"], past: Float[Array, "k w"], stage: Float[Array, " stages"]
) -> tuple[Features, Float[Array, ""]]:
    """What g_acc sees, and the length of the step.

    w are the coordinates of f(z), past[0] those of z, past[1], ... those of the iterates before it; stage says which
    access it is, one-hot, or is empty. The vectors are w; the differences between successive iterates and what is left
    of the optimality conditions, in units of the step; and the data.
    """
    differences = jnp.concatenate([w[None], past[:-1]]) - past
    step = jnp.maximum(norm(differences[0]), _SMALLEST_STEP)
    vectors = jnp.concatenate([w[None], differences / step, op.defect(w) / step, op.data])
    scalars = jnp.concatenate([jnp.log(step)[None], op.scales, stage.astype(w.dtype)])
    return Features(*_single((vectors, scalars, op.program.context))), step


def _single(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)
