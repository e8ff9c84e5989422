"""The score that decides which model of a training run is kept."""

import jax
import jax.numpy as jnp
from models import LASSO

from fpa.accelerators import AbstractMixing
from fpa.distributions import role_key
from fpa.solver import Solver
from fpa.training import Validation


class Shrinking(AbstractMixing):
    """Iterates `factor` times f(z): plain iteration with 1, and no point at all with 0."""

    factor: jax.Array

    def init(self, op, start=None):
        return op.initial(), None

    def propose(self, z, fz, state):
        return self.factor.astype(z.dtype) * fz, state


def test_iterates_without_a_point_score_as_residuals_of_one():
    """Their coordinates are 0 and do not move, which looks like convergence."""
    validation = Validation(role_key(0, "validation"), num_instances=4, num_steps=20)
    ensemble = Solver(accelerator=Shrinking(jnp.asarray([0.0, 1.0, jnp.nan])))
    dead, plain, spoilt = validation.score(ensemble, LASSO, jnp.float32)
    assert abs(dead) < 1e-6 and plain < -1 and spoilt == jnp.inf
