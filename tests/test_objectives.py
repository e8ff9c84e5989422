"""What is minimised: gradients of every objective, and windows that stop what they should."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import LASSO, bound, draw, intermittent, recurrent
from toy_maps import Bound, affine, random_toy

import fpa
from fpa.accelerators import AndersonAcceleration, Picard
from fpa.solver import Solver
from fpa.training import LastAccess, LastError, LastGap, LastKKT, Regression, TruncatedWindows, Unrolled

OP = bound(LASSO)
PROGRAM = draw(LASSO, 1)
EXACT = Solver(accelerator=AndersonAcceleration(memory=10))
MODELS = {
    "intermittent": lambda seed=0: Solver(accelerator=intermittent(OP, seed, access=(1, 3), tau=3.0)),
    "recurrent": lambda seed=0: Solver(accelerator=recurrent(OP, seed=seed, tau=3.0)),
}
OBJECTIVES = {
    "unrolled": (Unrolled(num_steps=4), "recurrent"),
    "unrolled-relative": (Unrolled(num_steps=4, relative=True), "recurrent"),
    "unrolled-log": (Unrolled(num_steps=4, log=True), "intermittent"),
    "unrolled-raw": (Unrolled(num_steps=4, normalized=False, relative=True), "recurrent"),
    "windows": (TruncatedWindows(((0, 3), (1, 2), (3, 2))), "intermittent"),
    "unrolled-pooled": (Unrolled(num_steps=4, pooled=True), "recurrent"),
    "regression": (Regression(reference=EXACT), "intermittent"),
    "regression-plain": (Regression(reference=EXACT, weights=0.5, log=False), "intermittent"),
    "last-error": (LastError(4, EXACT), "intermittent"),
    "last-kkt": (LastKKT(4), "intermittent"),
    "last-gap": (LastGap(4), "intermittent"),
}


def _norm(tree) -> float:
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))


def double(tree):
    """In double precision, for finite differences."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf, tree)


def _perturb(tree, seed: int):
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(structure, [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_agree_with_finite_differences(name, monkeypatch):
    """Of what is differentiated: stopped parts are kept at their value by freezing a copy of the solver."""
    objective, kind = OBJECTIVES[name]
    monkeypatch.setattr("fpa.accelerators.features._single", lambda tree: tree)
    solver = double(MODELS[kind]())
    target = objective.target(PROGRAM)
    arrays, static = eqx.partition(solver.accelerator, eqx.is_inexact_array)
    direction = _perturb(arrays, 3)
    direction = _without_fixed(direction)

    @jax.jit
    def loss(arrays):
        accelerator = eqx.combine(arrays, static)
        return objective.loss(Solver(accelerator=accelerator), PROGRAM, target)

    frozen = name.startswith(("windows", "regression"))
    _agree(loss, arrays, direction, _frozen_loss(objective, static, arrays, target) if frozen else loss)


def _agree(loss, arrays, direction, plain):
    """The slope of `loss` along a direction is that of `plain` by central differences."""
    slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (jax.grad(loss)(arrays), direction)), strict=True))
    h = 1e-6
    ends = [plain(jax.tree.map(lambda a, d, s=s: a + s * h * d, arrays, direction)) for s in (1, -1)]
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-5)


def test_the_gradient_of_the_last_access_agrees_with_finite_differences(monkeypatch):
    """From an iterate that is kept, so nothing else depends on the weights."""
    objective = LastAccess(Regression(reference=EXACT))
    monkeypatch.setattr("fpa.accelerators.features._single", lambda tree: tree)
    solver = double(MODELS["intermittent"]())
    start = solver.run(OP, *solver.accelerator.init(OP), 0, solver.accelerator.boundaries[-1])[:2]
    target = (objective.target(PROGRAM), start)
    arrays, static = eqx.partition(solver.accelerator, eqx.is_inexact_array)

    @jax.jit
    def loss(arrays):
        return objective.loss(Solver(accelerator=eqx.combine(arrays, static)), PROGRAM, target)

    _agree(loss, arrays, _without_fixed(_perturb(arrays, 3)), loss)


@pytest.mark.parametrize("objective", [LastError(5, EXACT), LastKKT(5), LastGap(5)], ids=["error", "kkt", "gap"])
def test_gradients_with_respect_to_a_metric_agree_with_finite_differences(objective):
    """One metric for all, and so through the factorisation."""
    n, m = PROGRAM.c.size, PROGRAM.b.size
    splitting = fpa.SCS(metric=fpa.TunedMetric(jnp.linspace(-1.0, 1.0, n), jnp.linspace(-1.0, 1.0, m)))
    arrays, static = eqx.partition(splitting.metric, eqx.is_inexact_array)
    target = objective.target(PROGRAM)

    @jax.jit
    def loss(arrays):
        changed = eqx.tree_at(lambda one: one.metric, splitting, eqx.combine(arrays, static))
        return objective.loss(Solver(changed), PROGRAM, target)

    _agree(loss, arrays, _perturb(arrays, 3), loss)


def _without_fixed(direction):
    """Normalisers, units and scales are not trained."""

    def fixed(path, leaf):
        names = {getattr(part, "name", "") for part in path}
        held = names & {"normalizer", "solutions", "unit", "units", "tau", "scalars"}
        return jnp.zeros_like(leaf) if held else leaf

    return jax.tree_util.tree_map_with_path(fixed, direction)


def _frozen_loss(objective, static, arrays, target):
    """The loss whose stopped iterates come from the unperturbed model: its plain derivative is the stopped one."""
    frozen = Solver(accelerator=eqx.combine(arrays, static))
    op = frozen.splitting.bind(PROGRAM)
    at_tau_one = lambda op, z, fz, point: op.residual_normalized(z, fz)  # noqa: E731

    @eqx.filter_jit
    def reached():
        (z, state), done, found = frozen.accelerator.init(op), 0, {}
        for access in (1, 3):
            z, state, _ = frozen.run(op, z, state, done, access, at_tau_one)
            found[access], done = (z, state), access
        return found

    starts = reached()

    @jax.jit
    def windows(arrays):
        solver = Solver(accelerator=eqx.combine(arrays, static))
        total = 0.0
        for start, length in objective.intervals:
            z, state = starts[start] if start else solver.accelerator.init(op)
            residuals = solver.run(op, z, state, start, start + length, at_tau_one)[2]
            total += jnp.sum(jnp.log(residuals + 1e-12))
        return total

    @jax.jit
    def regression(arrays):
        accelerator = eqx.combine(arrays, static)
        solution = op.coordinates(op.lift(target, 1.0))
        ends = [accelerator.init(op)[0]] + [accelerator.cross(op, *starts[access], access)[0] for access in (1, 3)]
        distances = [objective.weights * jnp.linalg.norm(op.coordinates(z) - solution) for z in ends]
        return sum(map(jnp.log, distances)) if objective.log else sum(distances)

    return windows if hasattr(objective, "intervals") else regression


def test_windows_differ_from_full_unrolling_exactly_by_the_stopped_terms():
    """The first window alone, as long as the run, is the unrolled loss; adding windows adds stopped ones."""
    solver = MODELS["intermittent"]()
    full, one = Unrolled(num_steps=5, log=True), TruncatedWindows(((0, 5),))
    gradient = eqx.filter_jit(lambda o: eqx.filter_value_and_grad(lambda s: o.loss(s, PROGRAM, None))(solver))
    (a, ga), (b, gb) = gradient(full), gradient(one)
    np.testing.assert_allclose(a, b, rtol=1e-6)
    for x, y in zip(jax.tree.leaves(ga), jax.tree.leaves(gb), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    late = TruncatedWindows(((3, 2),))
    (_, gl) = gradient(late)
    assert _norm(gl.accelerator.initializer) == 0
    assert _norm(gl.accelerator.correction.networks[0]) == 0 < _norm(gl.accelerator.correction.networks[1])


def test_pooled_losses_are_logarithms_of_the_batch_mean():
    objective = Unrolled(num_steps=3, pooled=True)
    terms, weights = jnp.array([[1.0, 2.0], [3.0, 5.0], [9.0, 9.0]]), jnp.array([1.0, 1.0, 0.0])
    np.testing.assert_allclose(objective.total(terms, weights), np.log(2.0) + np.log(3.5), rtol=1e-6)
    np.testing.assert_allclose(Unrolled(num_steps=3).total(terms, weights), 5.5, rtol=1e-6)


def test_iterates_without_a_point_are_not_taken_for_converged_ones():
    """x = 1 and x = 2: tau vanishes for good, and the residual counts as 1."""
    program = fpa.ConeProgram(jnp.ones((2, 1)), jnp.array([1.0, 2.0]), jnp.ones(1), fpa.Zero(2))
    assert Solver().solve(program).status == fpa.Status.INFEASIBLE
    assert abs(TruncatedWindows(((200, 3),)).loss(Solver(), program, None)) < 1e-9
    assert Unrolled(num_steps=203).loss(Solver(), program, None) > 3


def test_objectives_work_on_any_map():
    """On an affine map with plain iteration the unrolled loss is a geometric sum."""
    op = random_toy(0, 2, affine, rate=0.5)
    op = eqx.tree_at(lambda op: op.M, op, 0.5 * jnp.eye(2))
    loss = Unrolled(num_steps=6).loss(Solver(Bound(op), Picard()), op.program, None)
    first = np.linalg.norm(op.start - op(op.start)[0])
    np.testing.assert_allclose(loss, first * (2 - 2 * 0.5**6), rtol=1e-6)
