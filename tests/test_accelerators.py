"""Laws of every accelerator, on small maps that are no solver's."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ACCELERATORS, instance, over
from models import intermittent, recurrent, unnormalized
from toy_maps import Bound, Counted, Tally, Toy, affine, empty_program, folded, random_toy

from fpa.accelerators import AndersonAcceleration, Picard, Safeguarded, Switch
from fpa.solver import Solver, Status, short_record

DIM, STEPS = 6, 20
AT_REST = eqx.tree_at(lambda op: (op.q, op.start), random_toy(0, DIM, folded), (jnp.zeros(DIM), jnp.zeros(DIM)))
TOYS = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[random_toy(seed, DIM, folded) for seed in (1, 2, 3)], AT_REST)
LEARNED = {
    "intermittent": intermittent(random_toy(1, DIM, folded), access=(1, 4)),
    "recurrent": recurrent(random_toy(1, DIM, folded), depth=1),
    "unnormalized": unnormalized(random_toy(1, DIM, folded)),
    "safeguarded-learned": Safeguarded(Switch(intermittent(random_toy(1, DIM, folded), access=(2,)), 9, Picard())),
}
"""With random weights: no method that comes closer, and in single precision."""
ALL = ACCELERATORS | LEARNED
NAMES, ALL_NAMES = ({name: name for name in registry} for registry in (ACCELERATORS, ALL))


def _run(accelerator, op: Toy, ends: tuple[int, ...]):
    """The last iterate and all residuals of a run cut at `ends`."""
    z, state = accelerator.init(op)
    residuals = []
    for start, end in zip((0, *ends), ends, strict=False):
        z, state, trace = Solver(accelerator=accelerator).run(op, z, state, start, end, record=short_record)
        residuals.append(trace.fixed_point)
    return z, jnp.concatenate(residuals)


_batched_run = eqx.filter_jit(eqx.filter_vmap(_run, in_axes=(None, 0, None)))


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(None, 0))
def _differentiated_run(accelerator, op: Toy):
    @functools.partial(eqx.filter_grad, has_aux=True)
    def last_residual(op):
        z, residuals = _run(accelerator, op, (STEPS,))
        return residuals[-1], (z, residuals)

    gradient, (z, residuals) = last_residual(op)
    return z, residuals, gradient


@functools.cache
def whole_run(name: str):
    """The last iterates, residuals and gradients of a compiled batch of runs, the last of them at a fixed point."""
    return jax.tree.map(np.asarray, _differentiated_run(ALL[name], TOYS))


@functools.cache
def single_steps(name: str):
    """One of them without compilation, batch or loop: every iteration a run of its own. And how often f was applied."""
    tally = Tally()
    with jax.disable_jit():
        z, residuals = _run(ALL[name], Counted(instance(TOYS, 1), tally), tuple(range(1, STEPS + 1)))
    return np.asarray(z), np.asarray(residuals), tally.count


@over("name", ALL_NAMES)
def test_a_step_applies_the_map_once_and_nothing_else_does(name):
    assert single_steps(name)[2] == STEPS


@over("name", ALL_NAMES)
def test_a_compiled_batch_is_a_loop_of_single_steps(name):
    z, residuals, _ = single_steps(name)
    rough = 1e3 if name in LEARNED else 1
    np.testing.assert_allclose(whole_run(name)[0][1], z, rtol=1e-6 * rough, atol=1e-9 * rough)
    np.testing.assert_allclose(whole_run(name)[1][1], residuals, rtol=1e-5 * rough, atol=1e-9 * rough)


@over("name", ALL_NAMES)
def test_gradients_through_a_run_are_finite(name):
    *_, gradient = whole_run(name)
    for leaf in (gradient.M, gradient.q, gradient.start):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf[:3]).max() > 0 or (name in LEARNED and leaf is gradient.start)


@over("name", NAMES)
def test_every_method_comes_closer_and_stays_at_a_fixed_point(name):
    z, residuals, _ = whole_run(name)
    assert np.all(residuals[:3, -1] < 0.2 * residuals[:3, 0])
    assert np.all(residuals[3] == 0) and np.all(z[3] == 0)


@pytest.mark.parametrize("name", ["safeguarded", "safeguarded-switch"])
def test_a_run_split_at_and_between_boundaries_is_the_unbroken_run(name):
    z, residuals = _batched_run(ACCELERATORS[name], TOYS, (3, 5, 8, STEPS))
    np.testing.assert_allclose(z, whole_run(name)[0], rtol=1e-6)
    np.testing.assert_allclose(residuals, whole_run(name)[1], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["picard", "safeguarded-switch"])
def test_a_solve_applies_the_map_as_often_as_it_says(name):
    tally = Tally()
    op = eqx.tree_at(lambda op: op.q, random_toy(0, 3, rate=0.5), jnp.zeros(3))
    solver = Solver(Bound(Counted(op, tally)), ACCELERATORS[name])
    solution = jax.block_until_ready(solver.solve(empty_program(3), tol=1e-6, max_steps=97))
    jax.effects_barrier()
    assert solution.status == Status.SOLVED
    assert tally.count == solution.iterations > 0


@pytest.mark.parametrize(
    "wrapped",
    [
        Safeguarded(Picard()),
        Safeguarded(Safeguarded(Picard(), factor=0.5), patience=1),
        Switch(Picard(), 5, Picard()),
        Switch(Safeguarded(Picard()), 1, Switch(Picard(), 11, Picard())),
        Safeguarded(Switch(Picard(), 5, Picard())),
    ],
    ids=["safeguarded", "twice", "switch", "switch-of-wrapped", "safeguarded-switch"],
)
def test_wrappers_of_plain_iteration_are_plain_iteration(wrapped):
    z, residuals = _batched_run(wrapped, TOYS, (STEPS,))
    np.testing.assert_allclose(z, whole_run("picard")[0], rtol=1e-12)
    np.testing.assert_allclose(residuals, whole_run("picard")[1], rtol=1e-9)


def _iterates(accelerator, op, steps: int) -> np.ndarray:
    """z_0, ..., z_steps."""

    @eqx.filter_jit
    def iterate(op):
        def body(carry, _):
            z, state, _, _ = accelerator.step(op, *carry)
            return (z, state), z

        first = accelerator.init(op)
        return jnp.concatenate([first[0][None], jax.lax.scan(body, first, length=steps)[1]])

    return np.asarray(iterate(op))


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("dim", [1, 7])
def test_anderson_acceleration_ends_in_dim_plus_1_steps_on_an_affine_map(kind, dim):
    op = random_toy(dim, dim)
    solution = np.linalg.solve(np.eye(dim) - op.M, op.q)
    accelerator = AndersonAcceleration(dim, kind, regularization=0.0)
    error = np.linalg.norm(_iterates(accelerator, op, dim + 1) - solution, axis=1)
    assert error[dim] > 1e-6 * error[0]
    assert error[dim + 1] < 1e-12 * error[0]


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("memory", [1, 3, 20])
def test_anderson_acceleration_is_its_formula(kind, memory):
    """With the columns of the last `memory` differences, as a least-squares problem in NumPy; the ring goes round."""
    op, steps = random_toy(3, 12, folded), 10
    z = _iterates(AndersonAcceleration(memory, kind, regularization=0.0), op, steps)
    f = np.array([op(jnp.asarray(row))[0] for row in z])
    g = z - f
    for k in range(1, steps):
        last = slice(max(0, k - memory), k)
        S, Y = np.diff(z[: k + 1], axis=0)[last].T, np.diff(g[: k + 1], axis=0)[last].T
        left = S if kind == "I" else Y
        expected = f[k] - (S - Y) @ np.linalg.solve(left.T @ Y, left.T @ g[k])
        np.testing.assert_allclose(z[k + 1], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_regularization_damps_towards_plain_iteration():
    op = random_toy(0, DIM)
    plain = _iterates(Picard(), op, 10)
    errors = [
        np.abs(_iterates(AndersonAcceleration(5, "I", regularization), op, 10) - plain).max()
        for regularization in (1e-10, 1.0, 1e8)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["I", "II"])
def test_anderson_acceleration_stays_at_a_solution_it_has_reached(kind, dtype):
    """When differences are rounding errors their system is singular; the iterate must not be thrown away."""
    toys = [random_toy(seed, DIM, folded, rate=0.95) for seed in range(100)]
    ops = jax.tree.map(lambda *leaves: jnp.stack(leaves).astype(dtype), *toys)

    @eqx.filter_jit
    @eqx.filter_vmap
    def residuals(op):
        accelerator = AndersonAcceleration(5, kind)
        z, state = accelerator.init(op)
        return Solver(accelerator=accelerator).run(op, z, state, 0, 400, record=short_record)[2].fixed_point

    late = np.asarray(residuals(ops))[:, 200:]
    assert late.dtype == dtype
    assert np.all(late < 1e4 * np.finfo(dtype).eps)


def test_a_switch_hands_the_iterate_over_and_starts_afresh():
    op = random_toy(1, DIM, folded)
    plain = _iterates(Picard(), op, 7)
    z, state = Switch(Picard(), 7, AndersonAcceleration()).init(op)
    z, _, trace = Solver(accelerator=ACCELERATORS["switch"]).run(op, z, state, 0, 15, record=short_record)
    fresh = _iterates(AndersonAcceleration(), eqx.tree_at(lambda op: op.start, op, jnp.asarray(plain[7])), 8)
    np.testing.assert_allclose(z, fresh[8], rtol=1e-8)
    np.testing.assert_allclose(trace.fixed_point[:7], np.linalg.norm(np.diff(plain, axis=0), axis=1), rtol=1e-8)


def test_boundaries_of_a_switch_are_those_of_its_parts_in_their_own_time():
    inner = Switch(Picard(), 3, Picard())
    assert Switch(inner, 8, Picard()).boundaries == (3, 8)
    assert Switch(inner, 3, inner).boundaries == (3, 6)
    assert Switch(inner, 2, inner).boundaries == (2, 5)
    assert Safeguarded(Switch(inner, 8, inner)).boundaries == (4, 9, 12)
    assert AndersonAcceleration().boundaries == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AndersonAcceleration(memory=0), "AndersonAcceleration: memory must be at least 1, got 0."),
        (lambda: AndersonAcceleration(regularization=-1.0), "regularization must be >= 0, got -1.0."),
        (lambda: AndersonAcceleration(regularization=float("nan")), "regularization must be >= 0, got nan."),
        (lambda: Safeguarded(Picard(), factor=0.0), "Safeguarded: factor must be positive, got 0.0."),
        (lambda: Safeguarded(Picard(), patience=0), "Safeguarded: patience must be at least 1, got 0."),
        (lambda: Safeguarded(Picard(), share=0.0), "Safeguarded: share must lie in (0, 1], got 0.0."),
        (lambda: Switch(Picard(), 0, Picard()), "Switch: after must be at least 1, got 0."),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_an_unknown_kind_of_anderson_acceleration_is_named():
    kind: Any = "III"
    with pytest.raises((ValueError, TypeError), match="III"):
        AndersonAcceleration(kind=kind)


def test_the_affine_toy_is_a_contraction():
    op = random_toy(0, DIM)
    assert np.isclose(np.linalg.norm(op.M, 2), 0.9)
    np.testing.assert_allclose(op(op.start)[0], affine(op.M, op.q, op.start))
