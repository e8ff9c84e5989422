"""Derivatives through 50 iterations agree with central differences, and are finite where the map has kinks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from helpers import LAYOUTS, over, random_program

from fpa.cones import AbstractCone, NonNegative, PositiveSemidefinite, Product, SecondOrder, Zero
from fpa.evaluation import METRICS
from fpa.maps import SCS
from fpa.programs import ConeProgram
from fpa.solver import Solver

STEPS, H = 50, 1e-6
DIFFERENTIATED = ("A", "b", "c", "z")
MIXED = {name: LAYOUTS[name] for name in ("many-second-order", "all")}


def iterate(cone: AbstractCone, data: dict) -> jax.Array:
    """A scalar of the iterate after `STEPS` applications of the map bound to the data, started at z."""
    op = SCS().bind(ConeProgram(data["A"], data["b"], data["c"], cone))
    z, _ = jax.lax.scan(lambda z, _: (op(z)[0], None), data["z"], length=STEPS)
    return jnp.vdot(jnp.cos(jnp.arange(z.shape[0])), z)


@eqx.filter_jit
def slopes(cone: AbstractCone, data: dict, directions: dict) -> dict[str, tuple[jax.Array, jax.Array]]:
    """For each input, the derivative along its direction: by reverse mode, and by central differences."""
    gradient = jax.grad(lambda data: iterate(cone, data))(data)

    def difference(name):
        sides = [data | {name: data[name] + sign * H * directions[name]} for sign in (1, -1)]
        ahead, behind = jax.lax.map(lambda side: iterate(cone, side), jax.tree.map(lambda *s: jnp.stack(s), *sides))
        return (ahead - behind) / (2 * H)

    return {name: (jnp.vdot(gradient[name], directions[name]), difference(name)) for name in DIFFERENTIATED}


@over("layout", MIXED)
def test_gradients_agree_with_central_differences(layout):
    program = random_program(jax.random.key(3), layout)
    op = SCS().bind(program)
    z = op.initial() + 0.1 * jax.random.normal(jax.random.key(4), op.initial().shape)
    data = {"A": program.A, "b": program.b, "c": program.c, "z": z}
    keys = jax.random.split(jax.random.key(5), len(data))
    directions = {
        name: jax.random.normal(key, value.shape) for key, (name, value) in zip(keys, data.items(), strict=True)
    }
    for name, (reverse, central) in slopes(layout[0], data, directions).items():
        assert np.isclose(reverse, central, rtol=1e-5, atol=1e-9), name


KINKED = Product([Zero(1), NonNegative(2), SecondOrder(3), SecondOrder(1), PositiveSemidefinite(3)])
COLD = np.zeros(2 * (KINKED.dim + 4 + 1))
COLD[[KINKED.dim + 4, -1]] = 1
KINKS = {
    "zero-iterate": 0 * COLD,
    "cold-start": COLD,
    "no-tau": np.where(np.arange(COLD.size) == KINKED.dim + 4, 0, COLD),
    "axis-and-repeated-eigenvalues": np.ones_like(COLD),
}


@jax.jit
@jax.grad
def kinked_gradient(data: dict) -> jax.Array:
    """The gradient of a sum over three iterates and the points they stand for."""
    op = SCS().bind(ConeProgram(data["A"], data["b"], data["c"], KINKED))

    def body(z, _):
        fz, point = op(z)
        return fz, jnp.sum(point.x) + jnp.sum(point.y) + jnp.sum(point.s)

    z, sums = jax.lax.scan(body, data["z"], length=3)
    return jnp.sum(z) + jnp.sum(sums)


@over("start", KINKS)
def test_gradients_are_finite_at_kinks(start):
    program = random_program(jax.random.key(6), (KINKED, 4))
    A = program.A.at[1].set(0.0).at[:, 2].set(0.0)
    gradients = kinked_gradient({"A": A, "b": program.b, "c": program.c, "z": jnp.asarray(start)})
    assert all(bool(jnp.all(jnp.isfinite(value))) for value in gradients.values())


def test_every_metric_of_a_trace_is_differentiable_from_the_cold_start():
    program = random_program(jax.random.key(7), LAYOUTS["all"])

    def sums(b):
        trace = Solver().trace(ConeProgram(program.A, b, program.c, program.cone), 5)
        return {name: jnp.sum(getattr(trace, name)) for name in METRICS}

    for gradient in jax.jit(jax.jacrev(sums))(program.b).values():
        assert bool(jnp.all(jnp.isfinite(gradient))) and bool(jnp.any(gradient != 0))
