"""Which families learning helps on: features that need no training, and how well they predict gains."""

import jax
import numpy as np
import pandas as pd
import pytest
from models import draw
from test_study_results import ExponentialCurves

import fpa
from fpa import study
from fpa.study import features, plotting, predictors, prospects
from fpa.study.errors import StudyError

FIXED = fpa.FixedLasso.draw(fpa.Lasso(3, 5), jax.random.key(0), "F")


@pytest.fixture(scope="module")
def found():
    """The features of two families, the first with a fixed matrix."""
    key = fpa.role_key(0, "train")
    return [features.features(family, key, num_instances=30, num_held=10) for family in (FIXED, fpa.Lasso(3, 5))]


def test_features_of_the_form_count_what_varies(found):
    """Against three instances, entry by entry."""
    for family, each in zip((FIXED, fpa.Lasso(3, 5), fpa.RobustKalman(num_steps=4)), [*found, None], strict=True):
        programs = [draw(family, seed) for seed in range(3)]
        entries = np.stack([np.concatenate([np.ravel(part) for part in (p.A, p.b, p.c)]) for p in programs])
        varying = (entries != entries[0]).any(axis=0).sum() / (entries != 0).any(axis=0).sum()
        form = features._of_form(family.canonical)
        assert form["varying"] == pytest.approx(varying)
        assert form["equalities"] == pytest.approx(np.mean(family.canonical.cone.equalities))
        assert 10 ** form["parameters"] == pytest.approx(programs[0].context.size)
        assert each is None or all(each[name] == value for name, value in form.items())


def test_features_are_finite_and_a_fixed_matrix_explains_more(found):
    for each in found:
        assert list(each) == list(features.WORDS) and np.isfinite(list(each.values())).all()
        assert 0 < each["rate"] < 1 and 0 < each["supports"] <= 1
    assert found[0]["ridge"] < min(found[1]["ridge"], 0)


def test_a_regression_that_knows_the_solution_starts_there():
    """A family whose solution is linear in what varies."""
    seen = features.solve(FIXED, jax.random.key(0), 40, 1e-8)
    linear = features.Solved(
        seen.parameters, np.concatenate([seen.points.x, seen.points.y, seen.points.s], 1), seen.points
    )
    left, start = features._fitted(features.RidgeCV([1e-10]), linear[:35], linear[35:])
    assert left < -8
    np.testing.assert_allclose(start.x, seen.points.x[35:], atol=1e-5)


def test_all_features_at_once_find_what_no_single_one_shows():
    """A gain that is the sum of all features."""
    table = _table(40)
    table[prospects.GAIN] = table[list(features.WORDS)].sum(axis=1)
    found = prospects.leave_one_out(table)
    assert set(found["predictor"]) == {"ridge regression"}
    told = prospects.agreement({"all": found}).set_index("predictor")
    assert told.loc["chosen by the others", "spearman"] > 0.95 > told.loc["one feature", "spearman"]
    assert 1 < told.loc["ridge regression", "factor"] < told.loc["one feature", "factor"]


def test_other_regressions_are_judged_by_families_left_out():
    """A gain that follows one feature, among twelve families, and one that follows nothing."""
    told = prospects.tried({"line": _table(), "noise": _table(noise=100.0)}).set_index(["families", "predictor"])
    assert set(told.index.unique("predictor")) == set(predictors.OTHERS) and (told["number"] == 12).all()
    assert told.loc[("line", "lasso"), "spearman"] > 0.95 and told.loc[("line", "lasso"), "factor"] < 2
    assert (told.loc["noise", "spearman"] < 0.7).all() and (told.loc["noise", "factor"] > 10).all()
    assert np.isfinite(prospects.tried({"few": _table(4)})["factor"]).all()


def test_nearest_families_find_what_no_line_shows():
    """Three kinds of families, each with a gain of its own that is not monotone in anything."""
    table = _table(18)
    kind = np.arange(18) % 3
    table[list(features.WORDS)] = 5 * kind[:, None] + 0.1 * table[list(features.WORDS)]
    table[prospects.GAIN] = np.array([1.0, 3.0, 0.5])[kind]
    found = prospects.leave_one_out(table)
    assert set(found["predictor"]) == {"nearest families"}
    np.testing.assert_allclose(found["predicted"], table[prospects.GAIN])


def test_a_family_left_out_has_no_say():
    """Neither in the choice of the predictor nor in the prediction."""
    table, changed = _table(noise=0.5), _table(noise=0.5)
    changed.loc[3, prospects.GAIN] += 100
    before, after = (prospects.leave_one_out(each).loc[3].drop(prospects.GAIN) for each in (table, changed))
    assert before.equals(after)


def _table(num=12, noise=0.0, seed=0):
    """Families whose gain follows one feature."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({name: rng.normal(size=num) for name in features.WORDS})
    table.insert(0, "family", [f"family {i}" for i in range(num)])
    table[prospects.FIXED] = np.arange(num) % 2 == 0
    table[prospects.GAIN] = 1 - 2 * table["ridge"] + noise * rng.normal(size=num)
    return table


def test_the_feature_that_orders_the_gains_is_found_and_predicts_families_left_out():
    table = _table()
    told = prospects.correlations(table).set_index("feature")
    assert told.loc["ridge", "spearman"] == pytest.approx(-1) == told.loc["ridge", "95 %"]
    assert (told["5 %"] <= told["95 %"]).all()
    left_out = prospects.leave_one_out(table)
    np.testing.assert_allclose(left_out["one feature"], left_out[prospects.GAIN])
    np.testing.assert_allclose(left_out["predicted"], left_out["one feature"])
    figure = prospects.draw(table, left_out, 10)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[len(features.WORDS)] == "left out: Spearman +1.00" and titles.count("Spearman -1.00") == 1
    assert "12  family 11" in figure.axes[len(features.WORDS) + 1].texts[0].get_text()


def test_a_feature_that_is_the_same_everywhere_predicts_the_middle():
    known = np.zeros((4, 2))
    assert predictors.OneFeature().fit(known, np.array([1.0, 2.0, 3.0, 9.0])).predict(known[:1]) == 2.5


def test_features_without_meaning_do_not_predict_by_construction():
    """The one left out must not choose its own predictor."""
    table = _table(noise=100.0)
    left_out = prospects.leave_one_out(table)
    assert abs(predictors.spearman(left_out["predicted"], left_out[prospects.GAIN])) < 0.7


def test_gains_are_read_from_the_data_of_runs():
    def frame(run, panels):
        methods = {"SCS": 0.1, "SCS+AA": 0.1, "SCS+AA-II": 0.1, "SCS tuned": 0.1, "SCS+Neural-MLP": 0.3}
        curves = [
            plotting.curves_frame(run, panel, name, ExponentialCurves(rate, 0.1))
            for panel in panels
            for name, rate in methods.items()
        ]
        return pd.concat(curves, ignore_index=True)

    data = {
        "03_intermittent_kalman": frame("03_intermittent_kalman", ["50 iterations", "200 iterations"]),
        "04_dynamic": frame("04_dynamic", ["2 steps", "3 steps"]),
    }
    families = prospects.trained(data, 0)
    assert [family.name for family in families] == [
        "Robust Kalman filtering",
        "Dynamic Lasso: 2 steps",
        "Dynamic Lasso: 3 steps",
    ]
    gain = 0.2 * np.mean([10, 20, 50]) / np.log(10)
    np.testing.assert_allclose([family.gain for family in families], gain)
    table = prospects.tabulate(families, {family.name: dict.fromkeys(features.WORDS, 0.5) for family in families})
    assert table[prospects.FIXED].all() and list(table["family"]) == [family.name for family in families]


def test_a_new_family_is_answered_from_the_committed_table(clone, found, monkeypatch):
    monkeypatch.setattr(prospects, "features", lambda *_: found[0])
    with pytest.raises(StudyError, match="which the run 08_when_does_it_help has not made yet"):
        study.benefit(FIXED, jax.random.key(0), 10)
    file = clone / "figures" / "laptop" / "tables" / "08_when_does_it_help.csv"
    file.parent.mkdir(parents=True)
    _table().to_csv(file, index=False)
    answer = study.benefit(FIXED, jax.random.key(0), 10)
    given = study.benefit(FIXED, jax.random.key(0), 10, _table())
    assert answer.gain == pytest.approx(given.gain)
    assert answer.predictor == "one feature"
    assert answer.low == pytest.approx(answer.gain) == answer.high
    assert answer.gain == pytest.approx(10 ** (1 - 2 * found[0]["ridge"]))
    assert len(answer.similar) == 3 and set(answer.similar) <= set(answer.table["family"])
    assert f"by one feature; most similar: {answer.similar[0]}" in str(answer) and len(answer.draw().axes) == 2
