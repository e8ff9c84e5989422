"""Which of the models seen in training is the best: a score on instances that training never sees."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.distributions import AbstractDistribution, sample_batch
from fpa.solver import Solver, point_residual
from fpa.training.ensembles import axes
from fpa.training.pools import cast


class AbstractValidation(ABC):
    """Scores the models of an ensemble every `every` updates; the best of each is kept."""

    every: int

    @abstractmethod
    def score(self, ensemble: Solver, distribution: AbstractDistribution, dtype: Any) -> Float[Array, " models"]:
        """One number per model; smaller is better."""


@dataclass(frozen=True)
class Validation(AbstractValidation):
    """Scores an ensemble every `every` updates, on instances drawn with `key` (of the role "validation").

    The score is the mean, over instances and iterations 1 to `num_steps`, of the logarithm of the fixed-point residual
    at tau = 1: the area under the convergence curve on a logarithmic axis. Where an iterate stands for no point the
    residual counts as 1, the size of an equilibrated solution. Infinite where anything is not finite.
    """

    key: PRNGKeyArray
    every: int = 200
    num_instances: int = 64
    num_steps: int = 50

    def score(self, ensemble, distribution, dtype):
        parameters = cast(sample_batch(distribution, self.key, self.num_instances), dtype)
        return _score(ensemble, distribution, parameters, self.num_steps)


@eqx.filter_jit
def _score(ensemble, distribution, parameters, num_steps):
    def instance(solver, parameters):
        op = solver.splitting.bind(distribution.program(parameters))
        z, state = solver.accelerator.init(op)
        return jnp.mean(jnp.log(solver.run(op, z, state, 0, num_steps, _residual)[2] + 1e-12))

    def one(solver):
        scores = jax.vmap(lambda p: instance(solver, p))(parameters)
        return jnp.where(jnp.all(jnp.isfinite(scores)), jnp.mean(scores), jnp.inf)

    return eqx.filter_vmap(one, in_axes=(axes(ensemble),))(ensemble)


def _residual(op, z, fz, point):
    return point_residual(op, z, fz)
