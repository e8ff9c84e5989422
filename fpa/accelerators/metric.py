"""A diagonal metric that a network reads off an instance."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from fpa.accelerators.features import Features, Normalizer, first_features
from fpa.accelerators.networks import MLP, AbstractNetwork, FlatNetwork
from fpa.maps import AbstractSplitting
from fpa.maps.metric import AbstractMetric, within_cones
from fpa.programs import ConeProgram


class LearnedMetric(AbstractMetric):
    """Weights that a network reads off an instance, within bounds whatever the network says.

    Its answer, of length n + 2m, holds a number d for each variable and each row, and m numbers with the mean k:

        weights = l_k (u_k / l_k)^sigma(k) l_d (u_d / l_d)^sigma(d),   bounds = (l_d, u_d), scales = (l_k, u_k),

    averaged within cones (King et al., with the logarithm in place of the number itself, so that no bound is
    favoured). An answer that is not finite counts as 0, the middle. The network sees the context, and, with `through`,
    the data as that splitting's g_init would see them.
    """

    network: AbstractNetwork
    through: AbstractSplitting | None = None
    bounds: tuple[float, float] = eqx.field(static=True, default=(0.01, 100.0))
    scales: tuple[float, float] = eqx.field(static=True, default=(0.1, 10.0))

    def __check_init__(self):
        for name, (low, high) in (("bounds", self.bounds), ("scales", self.scales)):
            if not 0 < low < high < float("inf"):
                raise ValueError(
                    f"LearnedMetric: {name} must be positive, finite and increasing, got {low} and {high}."
                )

    def __call__(self, program):
        n, m = program.c.shape[0], program.b.shape[0]
        answer = self.network(self._features(program)).astype(program.b.dtype)
        answer = jnp.where(jnp.isfinite(answer), answer, 0)
        common, each = _between(jnp.mean(answer[n + m :]), *self.scales), _between(answer[: n + m], *self.bounds)
        return common * each[:n], common * within_cones(program.cone, each[n:])

    def _features(self, program: ConeProgram) -> Features:
        if self.through is not None:
            return jax.lax.stop_gradient(first_features(self.through.bind(program)))
        none = jnp.zeros((0,), jnp.float32)
        return Features(none[None], none, program.context.astype(jnp.float32))


def context_network(
    key: PRNGKeyArray, program: ConeProgram, normalizer: Normalizer, units: int = 64, depth: int = 2
) -> FlatNetwork:
    """An untrained network for `LearnedMetric` that sees the standardised context of programs of this size."""
    size = program.c.shape[0] + 2 * program.b.shape[0]
    return FlatNetwork(normalizer, MLP(key, normalizer.mean.size, size, units, depth))


def _between(answer, low: float, high: float):
    """From any number to one between the bounds, evenly on a logarithmic axis."""
    return low * (high / low) ** jax.nn.sigmoid(answer)
