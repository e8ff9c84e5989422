"""What a distribution of programs is, and how instances are drawn from it."""

from abc import abstractmethod
from collections.abc import Iterator

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from fpa.canonicalize import Canonical
from fpa.programs import AbstractProgram, ConeProgram, Point

Parameters = dict[str, Array]
_ROLES = ("train", "validation", "test", "tune")


class AbstractDistribution(eqx.Module):
    """A family of programs with parameters, and a sampler of their values."""

    @abstractmethod
    def sample(self, key: PRNGKeyArray) -> Parameters:
        """The parameters of one random instance, by name."""

    @abstractmethod
    def program(self, parameters: Parameters) -> AbstractProgram:
        """The program of one instance."""

    @abstractmethod
    def context(self, parameters: Parameters) -> Float[Array, " k"]:
        """What networks see of one instance, a vector."""


class AbstractConeDistribution(AbstractDistribution):
    """A CVXPY problem with Parameters, and a sampler of their values."""

    canonical: eqx.AbstractVar[Canonical]

    def program(self, parameters: Parameters) -> ConeProgram:
        """The cone program of one instance."""
        return self.canonical(parameters, self.context(parameters))

    def context(self, parameters: Parameters) -> Float[Array, " k"]:
        """What networks see of one instance: everything that varies, as a vector."""
        return self.canonical.context(parameters)

    def recover(self, point: Point) -> dict[str, Array]:
        """The CVXPY variables at a point, by name."""
        return self.canonical.recover(point)


def role_key(seed: int, role: str) -> PRNGKeyArray:
    """The key of a role: "train", "validation", "test" and "tune" instances never share one."""
    if role not in _ROLES:
        raise ValueError(f"role must be one of {_ROLES}, got {role!r}.")
    return jax.random.fold_in(jax.random.key(seed), _ROLES.index(role))


@eqx.filter_jit
def sample_batch(distribution: AbstractDistribution, key: PRNGKeyArray, num_instances: int) -> Parameters:
    """The parameters of `num_instances` instances, with a leading batch axis."""
    return jax.vmap(distribution.sample)(jax.random.split(key, num_instances))


def stream(
    distribution: AbstractDistribution, key: PRNGKeyArray, num_instances: int, batch_size: int = 500
) -> Iterator[Parameters]:
    """Batches of parameters, one at a time in memory; only the last may be smaller.

    Instances do not depend on how many are drawn, only on `key` and `batch_size`.
    """
    if batch_size < 1:
        raise ValueError(f"stream: batch_size must be at least 1, got {batch_size}.")
    for index, first in enumerate(range(0, num_instances, batch_size)):
        size = min(batch_size, num_instances - first)
        yield sample_batch(distribution, jax.random.fold_in(key, index), size)
