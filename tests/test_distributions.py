"""Distributions: a CVXPY problem and a sampler, reproducible to the bit and never all in memory."""

import functools
import math

import cvxpy as cp
import equinox as eqx
import jax
import numpy as np
import pytest
from helpers import DISTRIBUTIONS, instance, solve_scs
from problems import Portfolio

from fpa.distributions import (
    BoxQP,
    Lasso,
    QuadcopterMPC,
    RandomQP,
    RobustKalman,
    role_key,
    sample_batch,
    stream,
)
from fpa.distributions import Portfolio as QuadraticPortfolio
from fpa.distributions.kalman import dynamics, kalman_problem
from fpa.distributions.lasso import lasso_problem
from fpa.maps import SCS
from fpa.programs import ConeProgram

_BATCH = 256
ROLES = ("train", "validation", "test", "tune")


QUADRATIC = {
    "box-qp": BoxQP(),
    "quadratic-portfolio": QuadraticPortfolio(5),
    "random-qp": RandomQP(4, 1.5),
    "quadcopter": QuadcopterMPC(3),
}
ALL = {**DISTRIBUTIONS, "portfolio": Portfolio(), **QUADRATIC}
PROBLEM = {"lasso": lasso_problem(6, 9), "kalman": kalman_problem(6, 12.0, 2.0, 2.0)}


@functools.cache
def drawn(name: str, role: str, count: int = 2) -> list[dict[str, np.ndarray]]:
    """The first batches of a role."""
    return jax.device_get(list(stream(ALL[name], role_key(0, role), count * _BATCH, _BATCH)))


def joined(name: str) -> dict[str, np.ndarray]:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *drawn(name, "test"))


def flat(batch: dict) -> np.ndarray:
    return np.concatenate([value.reshape(len(value), -1) for value in batch.values()], axis=1)


@pytest.mark.parametrize("name", ALL)
def test_the_same_key_gives_the_same_bits(name):
    again = jax.device_get(sample_batch(ALL[name], jax.random.fold_in(role_key(0, "test"), 0), _BATCH))
    for key, value in drawn(name, "test")[0].items():
        np.testing.assert_array_equal(again[key], value)
        assert value.dtype == np.float64


@pytest.mark.parametrize("name", ALL)
def test_no_instance_is_drawn_twice_nor_shared_by_two_roles(name):
    rows = np.concatenate([flat(batch) for role in ROLES for batch in drawn(name, role, 2)])
    assert len(np.unique(rows, axis=0)) == len(rows) == len(ROLES) * 2 * _BATCH


def test_keys_of_roles_and_seeds_differ():
    data = {tuple(np.asarray(jax.random.key_data(role_key(seed, role)))) for seed in range(5) for role in ROLES}
    assert len(data) == 5 * len(ROLES)
    np.testing.assert_array_equal(*(jax.random.key_data(role_key(3, "tune")) for _ in range(2)))
    with pytest.raises(ValueError, match=r"role must be one of .*'tune'.*, got 'exam'"):
        role_key(0, "exam")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("total", "size", "expected"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (0, 4, [])])
def test_a_stream_covers_all_and_only_its_last_batch_is_smaller(name, total, size, expected):
    batches = jax.eval_shape(lambda key: list(stream(ALL[name], key, total, size)), jax.random.key(0))
    assert [len(next(iter(batch.values()))) for batch in batches] == expected


def test_instances_do_not_depend_on_how_many_are_drawn():
    few, many = (list(stream(ALL["portfolio"], jax.random.key(1), total, 4)) for total in (6, 12))
    np.testing.assert_array_equal(few[0]["r"], many[0]["r"])
    np.testing.assert_array_equal(few[1]["r"], many[1]["r"][:2])


@pytest.mark.parametrize("name", ALL)
def test_the_shapes_of_samples_are_those_of_the_parameters(name):
    assert {key: value.shape[1:] for key, value in joined(name).items()} == ALL[name].canonical.shapes


def test_the_quadcopter_has_the_sizes_of_king_et_al():
    canonical = QuadcopterMPC().canonical
    equalities = int(canonical.cone.equalities.sum())
    assert (canonical.c.base.size, equalities, canonical.b.base.size - equalities) == (172, 132, 124)


@pytest.mark.parametrize("name", PROBLEM)
def test_programs_are_those_of_cvxpy(name):
    parameters = instance(joined(name), 5)
    problem = PROBLEM[name]
    for parameter in problem.parameters():
        parameter.value = np.asarray(parameters[parameter.name()])
    data, _, _ = problem.get_problem_data(cp.SCS, solver_opts={"use_quad_obj": False})
    program = ALL[name].program(parameters)
    np.testing.assert_allclose(program.A, data["A"].toarray(), atol=1e-12)
    np.testing.assert_allclose(program.b, data["b"], atol=1e-12)
    np.testing.assert_allclose(program.c, data["c"], atol=1e-12)
    np.testing.assert_array_equal(program.context, ALL[name].context(parameters))


def test_recover_reads_the_variables_of_an_own_distribution():
    portfolio, parameters = ALL["portfolio"], instance(joined("portfolio"), 0)
    point, status = solve_scs(portfolio.program(parameters))
    x = np.asarray(portfolio.recover(point)["x"])
    better = np.asarray(parameters["r"]) @ x - x @ x
    assert status == "solved" and math.isclose(x.sum(), 1, abs_tol=1e-7) and x.min() >= -1e-7
    assert all(better >= np.asarray(parameters["r"])[k] - 1 - 1e-7 for k in range(4))


def test_a_lasso_sample_has_the_stated_moments():
    F, g, mu = (joined("lasso")[key] for key in ("F", "g", "mu"))
    np.testing.assert_allclose(mu, 0.1 * np.abs(np.einsum("iqp,iq->ip", F, g)).max(axis=1), rtol=1e-12)
    assert abs(F.mean()) < 4 / np.sqrt(F.size) and abs(F.var() - 1) < 4 * np.sqrt(2 / F.size)
    left = np.stack([b - A @ np.linalg.lstsq(A, b)[0] for A, b in zip(F, g, strict=True)])
    freedom = len(F) * (9 - 6)
    assert abs(np.sum(left**2) / (0.1**2 * freedom) - 1) < 4 * np.sqrt(2 / freedom)


def test_a_share_of_the_lasso_truth_is_exactly_zero():
    """Without noise the truth is the least-squares solution; int((1 - 0.35) 6) = 3 of its entries are 0."""
    lasso = Lasso(6, 9, density=0.35, noise=0.0)
    sample = jax.jit(lambda keys: jax.lax.map(lasso.sample, keys))
    batch = jax.device_get(sample(jax.random.split(jax.random.key(2), _BATCH)))
    truth = np.stack([np.linalg.lstsq(F, g)[0] for F, g in zip(batch["F"], batch["g"], strict=True)])
    zero = np.abs(truth) < 1e-10
    assert np.all(zero.sum(axis=1) == 3) and np.all(zero.any(axis=0))
    assert abs(truth[~zero].var() - 1) < 4 * np.sqrt(2 / np.sum(~zero))


def test_kalman_measurements_follow_the_recursion():
    """x_0 = 0, x_{t+1} = F x_t + G w_t, y_t = H x_t + v_t, with v_t 20 times as large at outliers."""
    kalman, key = RobustKalman(num_steps=6), jax.random.key(4)
    dt, gamma = 12 / 5, 0.05
    key_w, key_v, key_outlier = jax.random.split(key, 3)
    w, v = (np.asarray(jax.random.normal(k, (6, 2))) for k in (key_w, key_v))
    outlier = np.asarray(jax.random.bernoulli(key_outlier, 0.2, (6, 1)))
    position, velocity, expected = np.zeros(2), np.zeros(2), np.zeros((2, 6))
    for t in range(6):
        expected[:, t] = position + np.where(outlier[t], 20, 1) * v[t]
        position = position + (1 - gamma * dt / 2) * dt * velocity + dt**2 / 2 * w[t]
        velocity = (1 - gamma * dt) * velocity + dt * w[t]
    assert outlier.any() and not outlier.all()
    np.testing.assert_allclose(kalman.sample(key)["y"], expected, rtol=1e-12, atol=1e-12)


def test_kalman_outliers_have_the_stated_share():
    """y_0 is noise alone: ||y_0|| > 5 has probability exp(-(5/20)^2 / 2) for an outlier, 4e-6 otherwise."""
    far = np.linalg.norm(joined("kalman")["y"][:, :, 0], axis=1) > 5
    share = 0.2 * math.exp(-((5 / 20) ** 2) / 2)
    assert abs(far.mean() - share) < 4 * math.sqrt(share * (1 - share) / far.size)


def test_kalman_dynamics_are_those_of_the_appendix():
    F, G, H = dynamics(0.5, gamma=0.1)
    np.testing.assert_allclose(F @ [1, 2, 3, 4], [1 + 0.975 * 0.5 * 3, 2 + 0.975 * 0.5 * 4, 0.95 * 3, 0.95 * 4])
    np.testing.assert_allclose(G @ [1, 2], [0.125, 0.25, 0.5, 1])
    np.testing.assert_allclose(H @ [1, 2, 3, 4], [1, 2])


def _axes(distribution, *mapped: str) -> ConeProgram:
    """Where each part of a batched program has its batch axis: 0 in what is mapped, nowhere else."""
    program = jax.eval_shape(distribution.program, jax.eval_shape(distribution.sample, jax.random.key(0)))
    shared = jax.tree.map(lambda _: None, program)
    parts = lambda p: [getattr(p, name) for name in mapped]  # noqa: E731
    return eqx.tree_at(parts, shared, [0] * len(mapped), is_leaf=lambda leaf: leaf is None)


def _shapes(function, out_axes, name: str):
    return jax.eval_shape(jax.vmap(function, out_axes=out_axes), drawn(name, "test")[0])


def test_what_is_shared_stays_unbatched_under_vmap():
    """`out_axes=None` is an error for anything that carries the batch axis."""
    kalman, lasso = ALL["kalman"], ALL["lasso"]
    program = _shapes(kalman.program, _axes(kalman, "b", "context"), "kalman")
    m, n = program.A.shape
    assert program.b.shape == (_BATCH, m) and program.c.shape == (n,) and program.context.shape == (_BATCH, 12)
    assert _shapes(lambda p: SCS().bind(kalman.program(p)).system.G, None, "kalman").shape == (n, n)
    with pytest.raises(ValueError, match=r"axis spec None but output was batched|mapped output but out_axes is None"):
        _shapes(lambda p: lasso.program(p).A, None, "lasso")


def test_streaming_holds_one_batch_at_a_time():
    """2,000 instances of the paper's Lasso, programs and all: never more arrays than those of the batch at hand."""
    lasso, shapes, live = Lasso(50, 100), [], []
    programs = eqx.filter_jit(eqx.filter_vmap(lambda distribution, p: distribution.program(p), in_axes=(None, 0)))
    batches = stream(lasso, jax.random.key(0), 2_000, 250)
    assert iter(batches) is batches
    for batch in batches:
        program = programs(lasso, batch)
        shapes.append(program.A.shape)
        live.append(sum(array.shape in (batch["F"].shape, program.A.shape) for array in jax.live_arrays()))
        del batch, program
    assert shapes == [(250, 204, 102)] * 8
    assert live == [2] * 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lasso(p=0), r"Lasso: p and q must be positive, got p=0, q=100"),
        (lambda: Lasso(q=-1), r"Lasso: p and q must be positive, got p=50, q=-1"),
        (lambda: Lasso(3, 4, density=1.5), r"Lasso: density must lie in \[0, 1\], got 1.5"),
        (lambda: Lasso(3, 4, density=math.nan), r"Lasso: density must lie in \[0, 1\], got nan"),
        (lambda: Lasso(3, 4, noise=-0.1), r"Lasso: noise must not be negative, got -0.1"),
        (lambda: RobustKalman(1), r"RobustKalman: num_steps must be at least 2, got 1"),
        (lambda: RobustKalman(3, outliers=2.0), r"RobustKalman: outliers must lie in \[0, 1\], got 2.0"),
        (lambda: RobustKalman(3, horizon=0.0), r"RobustKalman: horizon must be positive, got 0.0"),
        (lambda: RobustKalman(3, mu=-1.0), r"RobustKalman: mu must be positive, got -1.0"),
        (lambda: RobustKalman(3, rho=math.nan), r"RobustKalman: rho must be positive, got nan"),
        (lambda: list(stream(ALL["lasso"], jax.random.key(0), 5, 0)), r"stream: batch_size must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
