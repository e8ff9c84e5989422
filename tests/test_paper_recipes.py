"""The paper's models can be had with every entry of its tables, train through the solver, and collapse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import LASSO

import fpa
from fpa.study import paper, paper_recipes, sweep
from fpa.study.families import FAMILIES

SMALL = {name: 4 for name in ("units", "initializer units", "encoder units", "decoder units", "cell units")}
SHORT = SMALL | {"access": (1, 3), "intervals": ((0, 2), (1, 3), (3, 2)), "factors": 2, "iterations": 3}
FAMILY = FAMILIES["lasso"]


def _recipe(**changes):
    return paper_recipes.Recipe("lasso", 2, 10, 2, 3, tuple((SHORT | changes).items()))


@pytest.mark.parametrize("kind", ["recurrent", "intermittent"])
def test_the_papers_models_train_and_come_out_collapsed(kind, tmp_path):
    train = {"recurrent": paper_recipes.train_recurrent, "intermittent": paper_recipes.train_intermittent}[kind]
    ensemble, record = train(FAMILY, LASSO, _recipe(), 0, tmp_path / "checkpoint")
    assert np.all(np.isfinite(record["losses"])) and record["updates"] == [2]
    names = [str(path) for path, _ in jax.tree_util.tree_leaves_with_path(ensemble)]
    assert any("factors" in name for name in names) and not any("factors[1]" in name for name in names)
    curves = fpa.evaluate(fpa.member(ensemble, 1), LASSO, fpa.role_key(0, "test"), 4, 8)
    assert np.all(np.isfinite(curves.mean("fixed_point")))


@pytest.mark.parametrize("table", ["RECURRENT", "INTERMITTENT"])
def test_draws_come_from_the_tables(table):
    values = vars(paper)[table]
    rng = np.random.default_rng(0)
    draws = [paper.draw(values, rng, largest=1024) for _ in range(200)]
    for name, allowed in values.items():
        drawn = {draw[name] for draw in draws}
        if hasattr(allowed, "low"):
            middle = np.sqrt(allowed.low * allowed.high)
            assert allowed.low <= min(drawn) < middle < max(drawn) <= allowed.high
        else:
            assert drawn == {min(v, 1024) if name.endswith("units") else v for v in allowed.values}


def test_windows_reach_to_the_next_access_and_further():
    assert paper.windows((1, 5), 1.5, last=20).intervals == ((0, 1), (1, 6), (5, 20))


def test_a_search_has_a_row_per_draw():
    found = sweep.Search(draws=1, updates=2, largest=4, num_steps=3, calibration=10).run("lasso", FAMILY, LASSO, 0)
    assert list(found) == ["recurrent", "intermittent"]
    for rows in found.values():
        (row,) = rows
        assert np.all(np.isfinite([row["first loss"], row["last loss"], row["score"]]))


def test_draws_are_listed_from_the_best_to_those_without_a_score():
    rows = [{"draw": name, "score": score} for name, score in {"a": np.nan, "b": 2.0, "c": -1.0}.items()]
    assert list(sweep.table(rows)["draw"]) == ["c", "b", "a"]


def test_plain_scs_is_scored_as_the_draws_are():
    ensemble = eqx.tree_at(lambda s: s.splitting.scale, fpa.Solver(), jnp.full((1,), fpa.SCS().scale))
    expected = fpa.Validation(fpa.role_key(0, "validation"), num_steps=50).score(ensemble, LASSO, jnp.float64)
    np.testing.assert_allclose(sweep.plain_score(LASSO), expected[0], rtol=1e-6)
