"""The benchmark compares methods that do the same work on the same instances; times themselves are never asserted."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import fpa
from fpa.study import bench, readme
from fpa.study.bench_training import training_update
from fpa.study.c_solvers import scs_cone, tune_scs
from fpa.study.paper_recipes import RECURRENT

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def kalman():
    return bench.family("kalman", fpa.RobustKalman(num_steps=6), 4)


@pytest.mark.parametrize(
    "method",
    [
        bench.scs_fresh(eps_abs=1e-6, eps_rel=1e-6),
        bench.scs_update(eps_abs=1e-6, eps_rel=1e-6),
        bench.clarabel_solve(1e-6),
        bench.batched_solve(fpa.SCS(), fpa.Picard(), 1e-6),
    ],
    ids=["scs fresh", "scs update", "clarabel", "fpa"],
)
def test_every_solver_solves_every_instance(kalman, method):
    assert bench._quality(kalman, method(kalman))["worst_residual_max"] < 1e-4


def test_fifty_steps_are_fifty_applications_of_the_map(kalman):
    points = bench.batched_steps(fpa.SCS())(kalman)
    op = fpa.SCS().bind(kalman.distribution.program({"y": kalman.parameters["y"][2]}))
    z, step = op.initial(), jax.jit(lambda z: op(z))
    for _ in range(50):
        z, point = step(z)
    np.testing.assert_allclose(points["x"][2], point.x, rtol=1e-8, atol=1e-10)


def test_measure_gives_a_row_per_method_and_ratios_to_the_first(kalman):
    off = {"acceleration_lookback": 0}
    methods = [bench.Method("ours", bench.batched_steps(fpa.SCS())), bench.Method("scs", bench.scs_fresh(**off))]
    table = bench.Task("50 iterations", kalman, methods).measure(rounds=2)
    assert list(table["method"]) == ["ours", "scs"]
    assert table["times_reference"][0] == 1
    assert np.isclose(table["times_reference"][1], table["seconds_median"][1] / table["seconds_median"][0])


def test_a_training_update_is_timed_in_both_precisions():
    small = {name: 4 if name.endswith("units") else value for name, value in RECURRENT.items()}
    table = training_update(rounds=1, batch=2, num_steps=2, choice=small, p=3, q=4)
    assert list(table["method"]) == ["fpa, map in float32", "fpa, map in float64", "its matrix products alone"]
    assert list(table["dtype"]) == ["float32", "float64", "float32"]
    assert (table["seconds_median"] > 0).all() and table["times_reference"][0] == 1
    assert set(table.columns) <= set(pd.read_csv(ROOT / "figures" / "laptop" / "bench.csv", nrows=1).columns)


def test_only_a_fixed_matrix_lets_a_workspace_be_updated(kalman):
    lasso = bench.family("lasso", fpa.Lasso(p=4, q=6), 3)
    named = {f.name: [m.name for m in bench.tasks(f, fpa.SCS(), {})[0].methods] for f in (kalman, lasso)}
    assert kalman.fixed_A and not lasso.fixed_A
    assert any("update" in name for name in named["kalman"]) and not any("update" in name for name in named["lasso"])


def test_tuning_scs_chooses_the_fastest_setting(kalman, monkeypatch):
    monkeypatch.setattr("fpa.study.c_solvers._GRID", {"scale": (1e-3, 3.0), "alpha": (1.5,)})
    assert tune_scs(kalman.data, kalman.cone, eps=1e-3) == {"scale": 3.0, "alpha": 1.5}


def test_scs_cone_refuses_another_order():
    with pytest.raises(ValueError, match=r"not \['q', 'z'\]"):
        scs_cone(fpa.Product([fpa.SecondOrder(3), fpa.Zero(2)]))


def test_the_readme_shows_the_committed_tables():
    assert readme.rendered(ROOT) == (ROOT / "README.md").read_text()


def test_a_readme_without_a_place_for_a_table_is_named(tmp_path):
    (tmp_path / "README.md").write_text("# empty\n")
    (tmp_path / "figures" / "laptop").mkdir(parents=True)
    (tmp_path / "figures" / "laptop" / "claims.csv").write_text("id,source,holds\nT1,Table 1,yes\n")
    with pytest.raises(readme.StudyError, match="no place for the scorecard"):
        readme.update(tmp_path)
