"""A diagonal metric that a network reads off an instance."""

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from fpa.accelerators.features import Normalizer
from fpa.accelerators.networks import MLP
from fpa.maps.metric import AbstractMetric, within_cones
from fpa.programs import ConeProgram


class LearnedMetric(AbstractMetric):
    """Weights that a network reads off an instance's context, within bounds whatever the network says.

    weights = lowest_scale (highest_scale / lowest_scale)^sigma(k) lower (upper / lower)^sigma(d), with k a number
    and d a number for each weight, averaged within cones (King et al., with the logarithm in place of the number
    itself, so that no bound is favoured).
    """

    network: MLP
    normalizer: Normalizer
    bounds: tuple[float, float] = eqx.field(static=True)
    scales: tuple[float, float] = eqx.field(static=True)

    @staticmethod
    def untrained(
        key: PRNGKeyArray,
        program: ConeProgram,
        normalizer: Normalizer,
        bounds: tuple[float, float] = (0.01, 100.0),
        scales: tuple[float, float] = (0.1, 10.0),
        units: int = 64,
        depth: int = 2,
    ) -> "LearnedMetric":
        """A metric for programs of this size, with hidden layers of `units`."""
        for name, (low, high) in (("bounds", bounds), ("scales", scales)):
            if not 0 < low < high < float("inf"):
                raise ValueError(
                    f"LearnedMetric: {name} must be positive, finite and increasing, got {low} and {high}."
                )
        size = program.c.shape[0] + program.b.shape[0] + 1
        return LearnedMetric(MLP(key, normalizer.mean.size, size, units, depth), normalizer, bounds, scales)

    def __call__(self, program):
        answer = self.network(self.normalizer(program.context)).astype(program.b.dtype)
        n = program.c.shape[0]
        common, each = _between(answer[0], *self.scales), _between(answer[1:], *self.bounds)
        return common * each[:n], common * within_cones(program.cone, each[n:])


def _between(answer, low: float, high: float):
    """From any number to one between the bounds, evenly on a logarithmic axis."""
    return low * (high / low) ** jax.nn.sigmoid(answer)
