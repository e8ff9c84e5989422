"""Under `vmap` over parameters, what does not vary is computed once: the jaxpr shows it."""

import jax
import pytest
from helpers import equations

from fpa.distributions import Lasso, RobustKalman, sample_batch
from fpa.maps import SCS
from fpa.solver import Solver

BATCH = 7
FAMILIES = {"kalman": (RobustKalman(num_steps=6), False), "lasso": (Lasso(p=6, q=9), True)}


def operands(name: str, primitive: str) -> list[list[tuple[int, ...]]]:
    """The shapes of the operands of every `primitive` in a batched trace."""
    distribution, _ = FAMILIES[name]
    parameters = sample_batch(distribution, jax.random.key(0), BATCH)

    def batched(parameters):
        return jax.vmap(lambda p: Solver(SCS()).trace(distribution.program(p), 5).fixed_point)(parameters)

    found = equations(jax.make_jaxpr(batched)(parameters).jaxpr)
    return [[v.aval.shape for v in eqn.invars] for eqn, _ in found if eqn.primitive.name == primitive]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_fixed_matrix_is_factorised_once(name):
    _, varies = FAMILIES[name]
    factorisations = operands(name, "cholesky")
    assert factorisations
    assert all((shape[0][:1] == (BATCH,)) == varies and len(shape[0]) == 2 + varies for shape in factorisations)


@pytest.mark.parametrize("name", FAMILIES)
def test_products_with_the_inverse_are_one_matrix_product(name):
    distribution, varies = FAMILIES[name]
    n = distribution.canonical.c.base.shape[0]
    inverses = [shape for shapes in operands(name, "dot_general") for shape in shapes if shape[-2:] == (n, n)]
    assert inverses
    assert all((len(shape) == 3) == varies for shape in inverses)


def test_the_data_matrix_stays_unbatched():
    distribution, _ = FAMILIES["kalman"]
    parameters = sample_batch(distribution, jax.random.key(0), BATCH)
    A = jax.vmap(lambda p: SCS().bind(distribution.program(p)).system.A, out_axes=None)(parameters)
    b = jax.vmap(lambda p: distribution.program(p).b)(parameters)
    assert A.dense().shape == (b.shape[1], distribution.canonical.c.base.shape[0])
    with pytest.raises(ValueError, match="vmap"):
        jax.vmap(lambda p: distribution.program(p).b, out_axes=None)(parameters)
