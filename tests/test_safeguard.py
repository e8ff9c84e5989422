"""Whatever a safeguarded accelerator proposes, the method converges, and a hopeless one costs little."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import LAYOUTS, instance, random_programs
from jax import Array
from toy_maps import affine, flattening, random_toy

from fpa.accelerators import AbstractAccelerator, AbstractMixing, AndersonAcceleration, Picard, Safeguarded
from fpa.maps import SCS
from fpa.programs import ConeProgram
from fpa.solver import Solver, Status, short_record

PROGRAMS = random_programs(0, LAYOUTS["second-order"], 12)
HOPELESS = ["noise", "a little noise", "nan", "inf", "zero", "huge", "tiny", "the last iterate"]
MISLEADING = ["far along", "hardly along", "backwards"]
KINDS = HOPELESS + MISLEADING


class Hostile(AbstractMixing):
    """Proposes what `kind` says, one of HOPELESS and MISLEADING by number; its state is a count."""

    kind: Array

    def init(self, op, start=None):
        return (op.initial() if start is None else start), jnp.zeros((), jnp.int32)

    def propose(self, z, fz, state):
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), state), z.shape)
        size = jnp.linalg.norm(fz) / jnp.linalg.norm(noise)
        proposals = [
            noise,
            fz + 0.01 * size * noise,
            jnp.full_like(z, jnp.nan),
            jnp.full_like(z, jnp.inf),
            jnp.zeros_like(z),
            1e300 * noise,
            1e-300 * noise,
            z,
            fz + 1e3 * (fz - z),
            0.999 * z + 0.001 * fz,
            -fz,
        ]
        return jnp.stack(proposals)[self.kind], state + 1


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(None, 0))
def plain_solutions(tol, program: ConeProgram):
    return Solver().solve(program, tol=1e-6, max_steps=4000)


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(0, None))
@eqx.filter_vmap(in_axes=(None, 0))
def hostile_solutions(kind, program: ConeProgram):
    return Solver(accelerator=Safeguarded(Hostile(kind))).solve(program, tol=1e-6, max_steps=4000)


def test_hopeless_proposals_cost_at_most_a_fifth_and_a_constant():
    plain = plain_solutions(None, PROGRAMS)
    assert np.all(np.asarray(plain.status) == Status.SOLVED)
    hostile = hostile_solutions(jnp.arange(len(KINDS)), PROGRAMS)
    allowed = 1.2 * np.asarray(plain.iterations) + 50
    for k, name in enumerate(KINDS):
        assert np.all(np.asarray(hostile.status[k]) == Status.SOLVED), name
        assert name in MISLEADING or np.all(np.asarray(hostile.iterations[k]) <= allowed), name


def _end(accelerator: AbstractAccelerator, op, steps: int):
    z, state = accelerator.init(op)
    z, _, trace = Solver(accelerator=accelerator).run(op, z, state, 0, steps, record=short_record)
    return z, trace.fixed_point[-1]


@eqx.filter_jit
def _residual_and_gradient(accelerator, program: ConeProgram):
    def residual(b):
        return _end(accelerator, SCS().bind(ConeProgram(program.A, b, program.c, program.cone)), 15)[1]

    return jax.value_and_grad(residual)(program.b)


@pytest.mark.parametrize("name", ["nan", "inf", "zero"])
def test_what_is_no_iterate_is_replaced_at_once(name):
    """The path is that of plain iteration, and its derivative too."""
    program = instance(PROGRAMS, 0)
    hostile = Safeguarded(Hostile(jnp.array(HOPELESS.index(name))))
    value, gradient = _residual_and_gradient(hostile, program)
    expected, expected_gradient = _residual_and_gradient(Picard(), program)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-7)


def test_failed_trials_lose_at_most_their_share_and_one_trial():
    """On f(z) = 0.999 z the iterate counts the plain iterations itself."""
    steps = 1000
    op = random_toy(0, 1, affine, rate=0.999)
    op = eqx.tree_at(lambda op: (op.M, op.q, op.start), op, (0.999 * jnp.eye(1), jnp.zeros(1), jnp.ones(1)))
    far = Safeguarded(Hostile(jnp.array(HOPELESS.index("inf"))))
    assert _plain_iterations(far, op, steps) == steps
    for name, factor in (("backwards", 1e-9), ("the last iterate", 1e4)):
        hopeless = Safeguarded(Hostile(jnp.array(KINDS.index(name))), factor=factor)
        lost = steps - _plain_iterations(hopeless, op, steps)
        longest = lost // 2 + hopeless.patience  # trials double: the last one is half of all
        assert 0 < lost <= hopeless.share * (steps - lost) + longest


def _plain_iterations(accelerator, op, steps: int) -> int:
    z = eqx.filter_jit(_end)(accelerator, op, steps)[0]
    count = np.log(float(z[0])) / np.log(0.999)
    assert np.isclose(count, round(count), atol=1e-6)
    return round(count)


def test_the_scale_of_a_homogeneous_iterate_changes_no_decision():
    """From a start that is larger or smaller, the same path, larger or smaller."""
    op = eqx.filter_jit(SCS().bind)(instance(PROGRAMS, 1))
    accelerator = Safeguarded(AndersonAcceleration(memory=3))

    @eqx.filter_jit
    def end(start):
        z, state = accelerator.init(op, start)
        return Solver(accelerator=accelerator).run(op, z, state, 0, 15, record=short_record)[0]

    z = end(op.initial())
    for factor in (1e-3, 1e3):
        expected = factor * z
        np.testing.assert_allclose(end(factor * op.initial()), expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_anderson_acceleration_alone_diverges_where_a_safeguard_keeps_it():
    op = random_toy(4, 1, flattening)
    accelerators = {
        "plain": Picard(),
        "alone": AndersonAcceleration(memory=1),
        "safe": Safeguarded(AndersonAcceleration(memory=1)),
    }
    ends = {name: eqx.filter_jit(_end)(accelerator, op, 100)[0] for name, accelerator in accelerators.items()}
    errors = {name: float(np.abs(z - op.q).max()) for name, z in ends.items()}
    assert errors["plain"] < 1e-8 and errors["safe"] < 1e-8
    assert not errors["alone"] < 1e6
