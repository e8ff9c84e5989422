"""Curves, iterations to a tolerance, and the tuned baseline."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import over
from models import intermittent
from problems import Portfolio

from fpa.accelerators import AbstractSteady, AndersonAcceleration, Picard, Safeguarded, Switch
from fpa.distributions import role_key, sample_batch, stream
from fpa.evaluation import METRICS, Curves, evaluate, iterations_to
from fpa.maps import SCS
from fpa.solver import Solver, Trace
from fpa.tuning import tune

FAMILY = Portfolio()
KEY, STEPS, CHUNK = role_key(0, "test"), 6, 4
OP = SCS().bind(FAMILY.program(jax.tree.map(lambda leaf: leaf[0], sample_batch(FAMILY, KEY, 1))))
ACROSS = {
    "intermittent": intermittent(OP, access=(1, 2, 4)),
    "beyond the end": intermittent(OP, access=(2, STEPS, STEPS + 1)),
    "switch": Switch(Picard(), 2, AndersonAcceleration()),
    "safeguarded": Safeguarded(Switch(intermittent(OP, access=(1, 3)), 4, AndersonAcceleration())),
}
CANDIDATES = {"scale": (0.3, 3.0), "relaxation": (1.5, 1.8)}


def random_curves(models: int = 2, instances: int = 7, iterations: int = 5) -> Curves:
    rng = np.random.default_rng(0)
    values = {metric: np.exp(3 * rng.standard_normal((models, instances, iterations))) for metric in METRICS}
    return Curves(values, rng.random((models, instances, iterations)) < 0.8)


@functools.cache
def curves(accelerator: str, num_instances: int) -> Curves:
    solver = Solver(accelerator=Picard() if accelerator == "picard" else AndersonAcceleration())
    return evaluate(solver, FAMILY, KEY, num_instances, STEPS, CHUNK)


class Decorated(AbstractSteady):
    """Plain iteration with a module of Equinox that has a function among its fields."""

    network: eqx.nn.MLP

    def init(self, op, start=None):
        return (op.initial() if start is None else start), None

    def step(self, op, z, state):
        fz, point = op(z)
        return fz + 0 * self.network(jnp.zeros(1)), state, fz, point


def test_networks_of_equinox_and_numbers_of_numpy_are_welcome():
    decorated = Solver(accelerator=Decorated(eqx.nn.MLP(1, "scalar", 2, 1, key=jax.random.key(0))))
    ours = evaluate(decorated, FAMILY, KEY, 3, np.int64(STEPS), CHUNK)
    np.testing.assert_allclose(ours.values["primal"], curves("picard", 3).values["primal"], rtol=1e-6)


def test_options_of_the_compiler_reach_it_and_change_no_more_than_last_digits():
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    other = evaluate(Solver(), FAMILY, KEY, 3, STEPS, CHUNK, compiler_options=options)
    np.testing.assert_allclose(other.values["primal"], curves("picard", 3).values["primal"], rtol=1e-9)
    with pytest.raises(RuntimeError, match="xla_no_such_option"):
        evaluate(Solver(), FAMILY, KEY, 3, STEPS, CHUNK, compiler_options={"xla_no_such_option": True})


def test_statistics_are_those_of_numpy():
    data = random_curves()
    records = {(r["metric"], r["iteration"]): r for r in data.records()}
    assert list(records) == [(metric, k) for metric in METRICS for k in range(1, 6)]
    for (metric, k), record in records.items():
        column = data.values[metric][:, :, k - 1].ravel()
        expected = {
            "mean": np.mean(column),
            "std": np.sqrt(np.mean((column - np.mean(column)) ** 2)),
            "geomean": np.prod(column ** (1 / column.size)),
            "median": np.median(column),
            "q10": np.percentile(column, 10),
            "q90": np.percentile(column, 90),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(record[name], value, rtol=1e-12, err_msg=name)
        assert record["num_valid"] == np.count_nonzero(data.valid[:, :, k - 1])
        assert (record["num_models"], record["num_instances"]) == (2, 7)
        np.testing.assert_allclose(data.mean(metric)[k - 1], record["mean"], rtol=1e-14)
        np.testing.assert_allclose(data.geomean(metric)[k - 1], record["geomean"], rtol=1e-12)


def test_an_exact_zero_leaves_the_geometric_mean_finite():
    data = Curves({"gap": np.array([[[0.0, 1.0], [1.0, 4.0]]])}, np.ones((1, 2, 2), bool))
    zero, none = data.records()
    assert zero["mean"] == 0.5 and np.isfinite(zero["geomean"]) and 0 < zero["geomean"] < 1e-100
    np.testing.assert_allclose(none["geomean"], 2)
    np.testing.assert_allclose(data.geomean("gap"), [zero["geomean"], 2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_run_counts_as_infinite_and_hides_no_other(bad):
    column = np.append(np.arange(1.0, 12.0), bad)
    data = Curves({"gap": column.reshape(2, 6, 1)}, np.ones((2, 6, 1), bool))
    (record,) = data.records()
    np.testing.assert_allclose([record["q10"], record["median"], record["q90"]], [2.1, 6.5, 10.9], rtol=1e-12)
    assert [record[name] for name in ("mean", "std", "geomean")] == [np.inf] * 3
    assert data.mean("gap")[0] == data.geomean("gap")[0] == np.inf


@pytest.mark.parametrize("num_bad", [2, 7, 12])
def test_a_quantile_among_diverged_runs_is_infinite(num_bad):
    column = np.append(np.arange(1.0, 13.0 - num_bad), np.full(num_bad, np.inf))
    (record,) = Curves({"gap": column.reshape(1, 12, 1)}, np.ones((1, 12, 1), bool)).records()
    assert record["q90"] == np.inf
    assert np.isfinite(record["median"]) == (num_bad == 2)
    assert np.isfinite(record["q10"]) == (num_bad < 12)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([1.0, 0.1, 0.01], 2),
        ([0.1, 1.0, 0.01], 1),
        ([1.0, 1.0, 0.1], 3),
        ([1.0, 1.0, 0.11], 0),
        ([np.nan, np.inf, 0.1], 3),
        ([np.nan, np.nan, np.nan], 0),
        ([0.0, 0.0, 0.0], 1),
        ([5.0], 0),
        ([0.1], 1),
    ],
)
def test_iterations_to_counts_from_one_and_is_zero_where_never(curve, expected):
    assert iterations_to(np.array(curve), 0.1) == expected


def test_iterations_to_keeps_the_leading_axes():
    values = np.array([[[1.0, 0.5], [0.05, 0.5]], [[1.0, 0.1], [1.0, 1.0]]])
    np.testing.assert_array_equal(iterations_to(values, 0.1), [[0, 1], [2, 0]])


@eqx.filter_jit
def _traces(splitting: SCS, batch) -> Trace:
    return jax.vmap(lambda parameters: Solver(splitting).trace(FAMILY.program(parameters), STEPS))(batch)


def traces(splitting: SCS, batch) -> Trace:
    """Straight from the solver, compiled once for all numbers in the splitting."""
    return jax.device_get(_traces(jax.tree.map(jnp.asarray, splitting), batch))


def test_evaluation_is_the_trace_of_every_instance_in_order():
    data = curves("picard", 7)
    parts = [traces(SCS(), batch) for batch in stream(FAMILY, KEY, 8, CHUNK)]
    trace = jax.tree.map(lambda *parts: np.concatenate(parts), *parts)
    for metric in METRICS:
        assert data.values[metric].shape == (1, 7, STEPS)
        np.testing.assert_allclose(data.values[metric][0], getattr(trace, metric)[:7], rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(data.valid[0], trace.valid[:7])


@over("accelerator", ACROSS)
def test_curves_across_boundaries_are_the_traces(accelerator):
    """To what networks in single precision leave of it; a crossing too many or too few changes everything."""
    solver = Solver(accelerator=accelerator)
    data = evaluate(solver, FAMILY, KEY, CHUNK, STEPS, CHUNK)
    (batch,) = stream(FAMILY, KEY, CHUNK, CHUNK)
    trace = eqx.filter_jit(jax.vmap(lambda parameters: solver.trace(FAMILY.program(parameters), STEPS)))(batch)
    for metric in METRICS:
        np.testing.assert_allclose(data.values[metric][0], getattr(trace, metric), rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(data.valid[0], trace.valid)


def test_two_methods_see_the_same_instances():
    """From the cold start the first application is the same for both; later they part."""
    plain, accelerated = curves("picard", 7), curves("anderson", 7)
    for metric in METRICS:
        np.testing.assert_allclose(plain.values[metric][..., 0], accelerated.values[metric][..., 0], rtol=1e-12)
    assert not np.allclose(plain.values["primal"][..., -1], accelerated.values["primal"][..., -1], rtol=1e-3)


def test_fewer_instances_are_the_first_of_more_and_repeat_to_the_bit():
    few, many = curves("picard", 3), curves("picard", 7)
    again = evaluate(Solver(), FAMILY, KEY, 3, STEPS, CHUNK)
    for metric in METRICS:
        np.testing.assert_array_equal(few.values[metric], many.values[metric][:, :3])
        np.testing.assert_array_equal(few.values[metric], again.values[metric])


def test_the_fixed_point_residual_is_relative_to_the_cold_start():
    np.testing.assert_allclose(curves("picard", 7).values["fixed_point"][..., 0], 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, STEPS, CHUNK), r"evaluate: num_instances must be at least 1, got 0"),
        ((3, STEPS, 0), r"evaluate: chunk must be at least 1, got 0"),
        ((3, 0, CHUNK), r"num_steps must be at least 1, got 0"),
    ],
)
def test_bad_numbers_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(Solver(), FAMILY, KEY, *arguments)


def tune_from(scale: float, candidates: dict = CANDIDATES) -> SCS:
    return tune(with_scale(scale), FAMILY, role_key(0, "tune"), CHUNK, STEPS, candidates, sweeps=2)


def with_scale(scale: float) -> SCS:
    return SCS(scale=jnp.asarray(scale))


def score(splitting: SCS) -> float:
    """The mean logarithm of the worst residual on the tuning instances, computed apart."""
    trace = traces(splitting, sample_batch(FAMILY, role_key(0, "tune"), CHUNK))
    return float(np.log(np.max([trace.primal, trace.dual, trace.gap], axis=0)).mean())


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_tuning_is_never_worse_than_what_it_was_given(scale):
    """Coordinate search: no change of one scalar to a candidate helps any more."""
    best = tune_from(scale)
    found = score(best)
    assert found <= score(with_scale(scale)) + 1e-9
    for name, values in CANDIDATES.items():
        for value in values:
            other = eqx.tree_at(lambda s, name=name: getattr(s, name), best, value)
            assert found <= score(other) + 1e-9
    assert float(best.rho_x) == SCS().rho_x


def test_tuning_changes_a_bad_setting_and_always_alike():
    best = tune_from(1e-3)
    assert best.scale in CANDIDATES["scale"]
    assert eqx.tree_equal(best, tune_from(1e-3))


def test_tuning_keeps_a_setting_that_no_candidate_beats():
    kept = tune_from(1.0, {"scale": (1e-9, 1e9), "relaxation": (1e-3,)})
    assert (kept.scale, kept.relaxation, kept.rho_x) == (1.0, 1.5, 1e-3)


def test_an_unknown_scalar_is_named():
    with pytest.raises(ValueError, match=r"the splitting has no scalar 'step'"):
        tune(SCS(), FAMILY, role_key(0, "tune"), candidates={"step": (1.0,)})
