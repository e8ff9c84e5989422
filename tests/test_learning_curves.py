"""Learning curves: the score is the residual it says, records add up, and the claim follows from the table."""

import jax
import numpy as np
import pandas as pd
import pytest

import fpa
from fpa.study import claims, learning_plots, staged
from fpa.study.learning_curves import LastResidual, Staged, Windows

LASSO = fpa.FixedLasso.draw(fpa.Lasso(4, 6), jax.random.key(0), "F")
KEY = fpa.role_key(0, "validation")


def test_the_score_is_the_mean_log_of_the_last_residual():
    solvers = [fpa.Solver(fpa.SCS(relaxation=a), fpa.Picard()) for a in (1.0, 1.5)]
    parameters = fpa.sample_batch(LASSO, KEY, 5)
    programs = [LASSO.program({name: values[i] for name, values in parameters.items()}) for i in range(5)]
    last = [[float(solver.trace(program, 12).fixed_point[-1]) for program in programs] for solver in solvers]
    validation = LastResidual(KEY, 1, 5, 12)
    scores = [float(validation.of(solver, LASSO, np.float64)) for solver in solvers]
    np.testing.assert_allclose(scores, np.log(last).mean(axis=1), rtol=1e-8)


def test_each_way_tells_what_it_cost(tmp_path):
    validation = LastResidual(KEY, 2, 4, 12)
    windows = Windows([2], updates=4, batch=3, rate=1e-3, units=4, depth=1, calibration=10)
    records = windows.run(LASSO, 0, validation, tmp_path / "windows.checkpoint")
    assert [(r["updates"], r["instances"]) for r in records] == [(2, 6), (4, 12)]
    recipe = staged.Recipe([2], 1, 16, 10, 10, 4, 4, 1e-3, 4, 4, [1, 1], 8)
    records = Staged(recipe, [0.5, 1.0]).run(LASSO, 0, validation, tmp_path / "staged.checkpoint")
    assert [(r["updates"], r["instances"]) for r in records] == [(7, 8), (14, 16)]
    assert all(r["seconds"] > 0 and 0 < r["residual"] < 1 for r in records)


def _table(dynamic: float, fixed: float) -> pd.DataFrame:
    rows = [
        {"recipe": "windows", "panel": panel, "dataset": k, "SCS": 1e-3, "updates": updates, "instances": updates}
        | {"seconds": 1.0, "residual": residual * (1 + k)}
        for panel, early in {"dynamic, 3 steps": dynamic, "fixed source": fixed}.items()
        for updates, residual in {5000: early * 1e-4, 10000: 1e-4}.items()
        for k in range(2)
    ]
    return pd.DataFrame(rows)


def test_the_summary_is_a_geometric_mean_with_its_range():
    summary = learning_plots.summary(_table(1.5, 3.0)).set_index(["panel", "updates"])
    row = summary.loc[("fixed source", 5000)]
    assert [row["residual"], row["low"], row["high"]] == pytest.approx([3e-4 * 2**0.5, 3e-4, 6e-4])
    figure = learning_plots.draw(_table(1.5, 3.0), 50, "title")
    assert [axes.get_xlabel() for axes in figure.axes] == ["updates", "training instances", "seconds of training"]


@pytest.mark.parametrize(("dynamic", "fixed", "holds"), [(1.5, 3.0, "yes"), (3.0, 3.0, "no"), (1.5, 1.2, "no")])
def test_figure_9_is_decided_by_what_5000_updates_leave(dynamic, fixed, holds, tmp_path):
    (tmp_path / "tables").mkdir()
    table = learning_plots.summary(_table(dynamic, fixed))
    table.to_csv(tmp_path / "tables" / "04_learning_curves_summary.csv", index=False)
    assert claims.scorecard(tmp_path).set_index("id").loc["C20", "holds"] == holds
