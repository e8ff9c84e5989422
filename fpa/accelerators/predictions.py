"""From a network's answer to an iterate: g_init and g_acc."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fpa.accelerators.features import Normalizer, first_features, step_features
from fpa.accelerators.networks import AbstractNetwork
from fpa.maps import AbstractFixedPointMap


class Initializer(eqx.Module):
    """g_init: the iterate with coordinates mean + scale network(data), entered at the family's settled `tau`.

    `solutions` holds mean and scale of solved points, of w's length. A network that answers 0 predicts the mean.
    """

    network: AbstractNetwork
    solutions: Normalizer
    tau: Float[Array, ""]

    def __call__(self, op: AbstractFixedPointMap) -> Float[Array, " z"]:
        features = first_features(op)
        answer = self.network(features).astype(op.initial().dtype)
        return op.enter(self.solutions.invert(answer), _fixed(self.tau))


class Correction(eqx.Module):
    """g_acc: f(z) corrected by a network, in units of the present step, entered at the family's settled `tau`.

    `networks` holds one network per access, or a single one for all, which is then told the access, one-hot; a line
    of `units` is the size of a network's usual correction (0: never corrected) relative to the step.
    """

    networks: tuple[AbstractNetwork, ...]
    units: Float[Array, "networks w"]
    tau: Float[Array, ""]
    stages: int = eqx.field(static=True)

    def __check_init__(self):
        if len(self.networks) not in (1, self.stages):
            raise ValueError(f"Correction: expected 1 or {self.stages} networks, got {len(self.networks)}.")

    def __call__(
        self, op: AbstractFixedPointMap, fz: Float[Array, " z"], past: Float[Array, "k z"], index: int
    ) -> Float[Array, " z"]:
        """The iterate after f(z) = fz; past[0] = z, past[1], ... are the iterates before, `index` is the access."""
        w = op.coordinates(fz)
        shared = len(self.networks) < self.stages
        stage = jnp.zeros(self.stages).at[index].set(1) if shared else jnp.zeros(0)
        features, step = step_features(op, w, jax.vmap(op.coordinates)(past), stage)
        chosen = 0 if shared else index
        answer = self.networks[chosen](features).astype(w.dtype)
        return op.enter(w + step * _fixed(self.units[chosen]) * answer, _fixed(self.tau))


def _fixed(value):
    return jax.lax.stop_gradient(value)
