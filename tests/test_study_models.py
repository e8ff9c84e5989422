"""Models are trained once: kept in the store, committed, found again by their key, published by every run."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from models import LASSO, bound, intermittent

import fpa
from fpa.accelerators import GRU
from fpa.study import baselines, cost, learned, models, overparametrisation, plotting, residuals
from fpa.study.errors import StudyError
from fpa.study.session import Run


@pytest.fixture
def clone(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FPA_FRESH", raising=False)
    return tmp_path


def _run(clone: Path) -> Run:
    published = clone / "figures" / "laptop"
    return Run("03_demo", "laptop", {}, (), published, clone / "staging")


def _train(calls: list, seeds=(0, 1)):
    def train(checkpoint: Path):
        calls.append(checkpoint)
        return fpa.Solver(accelerator=fpa.stack([intermittent(bound(LASSO), seed) for seed in seeds])), {"seconds": 1}

    return train


def test_a_model_is_trained_once_and_published_every_time(clone):
    calls: list = []
    first, history = models.trained(_run(clone), LASSO, _train(calls), {"updates": 3}, "fpa.persistence")
    (clone / "staging" / "models" / "03_demo.npz").unlink()
    again, _ = models.trained(_run(clone), LASSO, _train(calls), {"updates": 3}, "fpa.persistence")
    assert len(calls) == 1 and len(first) == 2 and history["seconds"] == 1
    assert (clone / "staging" / "models" / "03_demo.npz").is_file()
    for a, b in zip(*map(jax.tree.leaves, (first[1], again[1])), strict=True):
        assert np.array_equal(a, b)


def test_the_manifest_learns_how_long_training_took(clone, monkeypatch):
    staging = clone / "staging"
    staging.mkdir()
    monkeypatch.setenv("FPA_OUTPUT", str(staging))
    for _ in range(2):
        models.trained(_run(clone), LASSO, _train([]), {"updates": 3}, "fpa.persistence")
    made, loaded = map(json.loads, (staging / "ledger.jsonl").read_text().splitlines())
    assert (made["hit"], loaded["hit"]) == (False, True) and made["made_s"] == loaded["made_s"] >= 0


def test_another_configuration_is_another_model(clone):
    calls: list = []
    for updates in (3, 4, 3):
        models.trained(_run(clone), LASSO, _train(calls), {"updates": updates}, "fpa.persistence")
    assert len(calls) == 2


def test_a_record_of_training_is_kept_by_the_same_rules(clone):
    calls: list = []
    compute = lambda: calls.append(1) or {"losses": [1.5, 0.25]}  # noqa: E731
    for config in ({"updates": 3}, {"updates": 3}, {"updates": 4}):
        assert models.recorded(_run(clone), compute, config, ["fpa.persistence"]) == {"losses": [1.5, 0.25]}
    assert len(calls) == 2 and (clone / "staging" / "models" / "03_demo.json").is_file()


@pytest.mark.parametrize(("fresh", "trainings"), [("0", 0), ("9999999999", 1)])
def test_a_committed_model_is_used_unless_all_has_to_be_fresh(clone, monkeypatch, fresh, trainings):
    calls: list = []
    models.trained(_run(clone), LASSO, _train(calls), {"updates": 3}, "fpa.persistence")
    committed = clone / "figures" / "laptop" / "models" / "03_demo.npz"
    committed.parent.mkdir(parents=True)
    (clone / "staging" / "models" / "03_demo.npz").rename(committed)
    for kept in (clone / ".store").rglob("*.npz"):
        kept.unlink()
    calls.clear()
    monkeypatch.setenv("FPA_FRESH", fresh)
    models.trained(_run(clone), LASSO, _train(calls), {"updates": 3}, "fpa.persistence")
    assert len(calls) == trainings


def test_a_committed_model_of_other_code_or_configuration_is_not_used(clone):
    calls: list = []
    models.trained(_run(clone), LASSO, _train(calls), {"updates": 3}, "fpa.persistence")
    committed = clone / "figures" / "laptop" / "models" / "03_demo.npz"
    committed.parent.mkdir(parents=True)
    (clone / "staging" / "models" / "03_demo.npz").rename(committed)
    models.trained(_run(clone), LASSO, _train(calls), {"updates": 4}, "fpa.persistence")
    assert len(calls) == 2


def test_paths_end_at_the_solution():
    methods = {"SCS+AA": [fpa.Solver(accelerator=fpa.AndersonAcceleration(memory=5))], "SCS": [fpa.Solver()]}
    frame = learned.paths(LASSO, methods, fpa.role_key(0, "test"), num_steps=80)
    end = frame[(frame["method"] == "SCS+AA") & (frame["iteration"] == 80)]
    np.testing.assert_allclose(end["value"], end["solution"], atol=1e-4)
    assert len(frame) == 2 * 80 * 4  # every second one of eight coordinates
    assert len(learned.draw_paths(frame, "demo").axes) == 2


def test_costs_are_positive_and_time_is_spent_where_networks_are_asked():
    asked = fpa.Switch(fpa.Picard(), 2, fpa.AndersonAcceleration(memory=5))
    methods = {"SCS": [fpa.Solver()], "SCS+Neural-MLP safe": [fpa.Solver(accelerator=asked)]}
    table = cost.cost(LASSO, methods, fpa.role_key(0, "test"), num_steps=5, sizes=(1, 3), rounds=2)
    assert list(table["method"]) == 2 * list(methods) and list(table["batch"]) == [1, 1, 3, 3]
    assert (table[["setup", "iteration"]] >= 0).all(axis=None) and (table["setup"] > 0).all()
    plain = table["setup"] + 5 * table["iteration"]
    np.testing.assert_allclose(table["ms per instance"][::2], plain[::2])
    assert (table["ms per instance"] >= plain * (1 - 1e-12)).all()
    curves = fpa.evaluate(fpa.Solver(), LASSO, fpa.role_key(0, "test"), 3, 5)
    frame = pd.concat(plotting.curves_frame("demo", "5 iterations", name, curves) for name in methods)
    assert len(cost.draw_cost(cost.over_time(table, frame, methods, 5), "demo").axes) == 4


def test_methods_that_run_the_same_program_share_its_time(monkeypatch):
    timed = []
    monkeypatch.setattr(cost, "_shortest", lambda calls, *_: timed.append([*calls]) or dict.fromkeys(calls, 1.0))
    asked = [fpa.Switch(fpa.Picard(), after, fpa.AndersonAcceleration(memory=5)) for after in (2, 3)]
    methods = {"SCS": [fpa.Solver()], "SCS tuned": [fpa.Solver(fpa.SCS(scale=2.0))]}
    methods |= {f"AA {memory}": [fpa.Solver(accelerator=fpa.AndersonAcceleration(memory))] for memory in (4, 5)}
    methods |= {f"asked {index}": [fpa.Solver(accelerator=one)] for index, one in enumerate(asked)}
    table = cost.cost(LASSO, methods, fpa.role_key(0, "test"), num_steps=5, sizes=(3,))
    plain = [(name, case) for name in ("SCS", "AA 4", "AA 5") for case in ("setup", "many")]
    networks = [(name, case) for name in ("asked 0", "asked 1") for case in ("setup", "many", "crossings")]
    assert timed == [plain + networks] and list(table["method"]) == [*methods]


def test_time_is_spent_at_every_iteration_and_where_networks_are_asked():
    np.testing.assert_allclose(cost.elapsed(1.0, 1.0, 8.0, (2, 4), 5), [2, 3, 8, 9, 14])
    np.testing.assert_allclose(cost.elapsed(2.0, 1.0, 0.0, (), 5), [3, 4, 5, 6, 7])
    asked = fpa.Solver(accelerator=fpa.Switch(fpa.Picard(), 2, fpa.Picard()))
    rows = [{"method": "asked", "metric": "primal", "iteration": k, "mean": 1 / k} for k in (1, 2, 3, 6)]
    prices = pd.DataFrame([("asked", 4, 1.0, 0.5, 9.5)], columns=["method", "batch", "setup", "iteration", "all"])
    spent = cost.over_time(prices, pd.DataFrame(rows), {"asked": [asked]}, 5)
    np.testing.assert_allclose(spent["ms"], [1.5, 2.0, 8.5, 10.0])  # networks take 6, after the second iteration
    times = cost.times_to(spent.assign(batch=4), [0.5, 0.1], 6)
    assert times["iterations to 0.5"].tolist() == [2] and times["ms to 0.5, in a batch of 4"].tolist() == [2.0]
    assert times.isna()[["iterations to 0.1", "ms to 0.1, in a batch of 4"]].all(axis=None)
    with pytest.raises(StudyError, match="asked asks networks after 2 iterations; only 2 were timed"):
        cost.over_time(prices, pd.DataFrame(rows), {"asked": [asked]}, 2)


def test_every_call_is_timed_twice_and_a_dear_one_not_oftener(monkeypatch):
    """By a clock that only calls move."""
    now, calls, duration = [0.0], [], {"dear": iter([7.0, 3.0]), "cheap": iter([0.5] * 4)}

    def call(name):
        calls.append(name)
        now[0] += next(duration[name])

    monkeypatch.setattr(cost.time, "perf_counter", lambda: now[0])
    shortest = cost._shortest({name: lambda name=name: call(name) for name in duration}, rounds=5, patience=1.0)
    assert shortest == {"dear": 3.0, "cheap": 0.5}
    assert (calls.count("dear"), calls.count("cheap")) == (2, 2)
    assert cost._shortest({"cheap": lambda: call("cheap")}, rounds=2, patience=9.0) == {"cheap": 0.5}


def test_costs_are_those_of_the_instances_of_the_curves():
    key = fpa.role_key(0, "test")
    alone = jax.tree.map(lambda leaf: leaf[0], cost.instances(LASSO, key, 1))
    trace = fpa.Solver().trace(LASSO.program(alone), 5)
    np.testing.assert_allclose(
        fpa.evaluate(fpa.Solver(), LASSO, key, 30, 5).values["primal"][0, 0], trace.primal, rtol=1e-9
    )
    assert all(len(leaf) == 30 for leaf in cost.instances(LASSO, key, 30).values())


def test_the_share_of_updates_is_where_the_plain_score_is_reached():
    rows = [{"factors": 1, "updates": k, "scores": [5.0 - k, 4.0 - k]} for k in (1, 2, 4)]
    rows += [{"factors": 2, "updates": k, "scores": [s, s]} for k, s in ((1, 3.0), (2, 0.4), (4, 0.1))]
    scores = overparametrisation.table(rows)
    assert overparametrisation.share_of_updates(scores) == 0.5
    worse = scores.assign(score=scores["score"] + 10 * (scores["factors"] == 2))
    assert overparametrisation.share_of_updates(worse) == float("inf")
    assert list(scores.columns) == ["factors", "updates", "score", "lowest", "highest"]


def test_baselines_are_tuned_and_traced_once_for_all_runs(clone, monkeypatch):
    (splitting,) = baselines.tuned(_run(clone), [LASSO], 0, 2, 1)
    kept = clone / "staging" / "models" / "03_demo_tuned.json"
    assert kept.is_file()
    solvers = {"SCS": [fpa.Solver()], "SCS tuned": [fpa.Solver(splitting)]}
    first = residuals.curves(LASSO, solvers, 0, 3, 4)
    for name in ("tune", "evaluate"):
        monkeypatch.setattr(fpa, name, lambda *_, **__: pytest.fail("computed again"))
    assert baselines.tuned(_run(clone), [LASSO], 0, 2, 1) == [splitting]
    again = residuals.curves(LASSO, solvers, 0, 3, 4)
    for name, curves in first.items():
        assert curves.values["primal"].shape == (1, 3, 4)
        assert all(np.array_equal(curves.values[metric], again[name].values[metric]) for metric in curves.values)
        assert np.array_equal(curves.valid, again[name].valid)
    assert not np.array_equal(first["SCS"].values["primal"], first["SCS tuned"].values["primal"])


def test_every_model_of_a_method_is_traced_once_for_all_runs(clone, monkeypatch):
    scales = [fpa.Solver(fpa.SCS(scale=scale)) for scale in (1.0, 2.0)]
    both = residuals.curves(LASSO, {"SCS tuned": scales}, 0, 3, 4)["SCS tuned"]
    assert both.values["primal"].shape == (2, 3, 4)
    monkeypatch.setattr(fpa, "evaluate", lambda *_, **__: pytest.fail("computed again"))
    second = residuals.curves(LASSO, {"another name": scales[1:]}, 0, 3, 4)["another name"]
    np.testing.assert_array_equal(second.values["primal"][0], both.values["primal"][1])
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        residuals.curves(LASSO, {"SCS tuned": scales}, 0, 3, 4, {"xla_backend_optimization_level": 1})


def test_stored_curves_depend_on_the_code_of_all_that_a_solver_is_made_of():
    safe = fpa.Solver(fpa.SCS(), fpa.Safeguarded(fpa.AndersonAcceleration()))
    found = residuals._modules(safe)
    assert {"fpa.maps.scs", "fpa.maps.metric", "fpa.accelerators.safeguard", "fpa.accelerators.anderson"} <= found
    cell = GRU(jax.random.key(0), 2, 3)  # of Equinox, within
    assert residuals._modules(cell) == {type(cell).__module__}


class Elsewhere(fpa.AbstractSplitting):
    """A splitting whose code the store does not cover."""

    def bind(self, program):
        return fpa.SCS().bind(program)


def test_curves_of_classes_defined_elsewhere_are_not_stored(clone):
    with pytest.raises(StudyError, match=r"Solver is made of classes of .*test_study_models, whose changes"):
        residuals.curves(LASSO, {"SCS": [fpa.Solver(Elsewhere())]}, 0, 3, 4)


def test_curves_are_told_apart_by_all_bits_of_the_numbers():
    one, other = (fpa.Solver(fpa.SCS(scale=jnp.asarray(scale))) for scale in (1.0, 1.0 + 1e-12))
    assert residuals._identify(one) != residuals._identify(other)
    assert residuals._identify(one) == residuals._identify(fpa.Solver(fpa.SCS(scale=jnp.asarray(1.0))))
