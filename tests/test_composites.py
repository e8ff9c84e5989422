"""Runs of L2O-PA in miniature: training, gaps, what is measured and what is fetched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import draw

import fpa
from fpa.study import composite_results, composites, real_data

LASSO, LOGISTIC = fpa.SparseCoding(8, 12, 3), fpa.SparseLogistic(30, 5, 2)
SIZES = {"batches": 2, "batch": 2, "rate": 0.01, "segments": 2, "length": 2, "units": 4}


def test_different_methods_start_alike_and_the_same_ones_do_not(tmp_path):
    recipe = composites.Recipe(("PA", "PBA12", "PBA12 released", "PA"), **SIZES)
    ensemble, history = composites.train(LASSO, recipe, 0, 4, tmp_path / "checkpoint")
    assert fpa.num_models(ensemble) == 4 and len(history["losses"]) == 2
    keys = jax.random.split(fpa.role_key(0, "train"), 2)
    one, two = (recipe.untrained(name, keys[0]).accelerator for name in ("PA", "PBA12 released"))
    np.testing.assert_array_equal(one.network.heads.factors[0], two.network.heads.factors[0])
    assert (one.positive, two.positive) == (0, 1)
    first, last = (fpa.member(ensemble, k).accelerator.network.heads.factors[0] for k in (0, 3))
    assert not np.array_equal(first, last)


def test_a_mask_is_not_trained(tmp_path):
    recipe = composites.Recipe(("PBA1",), **SIZES)
    ensemble, _ = composites.train(LASSO, recipe, 0, 4, tmp_path / "checkpoint")
    np.testing.assert_array_equal(ensemble.accelerator.learned[0], [1, 1, 1, 1, 0])


@pytest.mark.parametrize(("family", "ratio"), [(LASSO, None), (LOGISTIC, 4 * 30)])
def test_the_released_step_is_one_over_the_norm(family, ratio):
    program = draw(family, 0)
    norm = np.linalg.norm(program.smooth.A, 2)
    assert np.isclose(composites.RELEASED.step(program), 0.9999 / norm)
    assert np.isclose(composites.RIGHT.step(program), 0.9999 * (ratio or 1) / norm**2)


def test_gaps_are_relative_to_the_optimum_and_never_negative():
    instances = composite_results.Instances(LASSO, 0, 5)
    assert instances.unsolved == 0
    curves = composite_results.curves(instances, {"ISTA": [composites.REFERENCE]}, 200)["ISTA"]
    gaps = curves.values["objective"]
    assert gaps.shape == (1, 5, 200) and np.all(gaps >= 0) and gaps[..., -1].max() < 1e-12
    program = LASSO.program(jax.tree.map(lambda leaf: leaf[0], instances.parameters))
    op = composites.REFERENCE.splitting.bind(program)
    expected = program.value(op(op.initial())[0]) / instances.optimum[0] - 1
    np.testing.assert_allclose(gaps[0, 0, 0], expected, rtol=1e-9)
    assert composite_results.median_iterations(curves, 1e-4) <= composite_results.median_iterations(curves, 1e-8)
    assert np.isnan(composite_results.median_iterations(curves, -1.0))


def test_the_speed_of_a_method_is_its_iterations_times_their_cost():
    instances = composite_results.Instances(LASSO, 0, 5)
    methods = {"FISTA": [composites.classical()["FISTA"]], "Adam": [composites.adaptive()["Adam"]]}
    table = composite_results.speed(instances, composite_results.curves(instances, methods, 60), methods, 0, 60, 2)
    row = table.set_index("method").loc["FISTA"]
    assert row["ms to 1e-04"] == row["ms setup"] + row["iterations to 1e-04"] * row["ms per iteration"]
    assert np.isnan(table.set_index("method").loc["Adam", "iterations to 1e-06"])


def test_a_table_tells_the_worst_run_and_counts_a_diverged_one_as_infinite():
    values = np.array([[[1.0, 1e-5, 1e-9, 0], [1.0, 1e9, np.inf, np.nan], [1.0, 1e-7, 1e-9, 0]]])
    for end, largest in ((2, 1e9), (3, np.inf), (4, np.inf)):
        gaps = {"L2O-PA": fpa.Curves({"objective": values[..., :end]}, np.isfinite(values[..., :end]))}
        (row,) = composite_results.reach(gaps, [1e-6], [end]).to_dict("records")
        assert row[f"largest gap at {end}"] == largest
        assert np.isnan(row["iterations to 1e-06"]) == (end == 2)


def test_biases_are_measured_where_they_are_learned():
    model = fpa.Solver(composites.RIGHT, fpa.preconditioned_momentum(jax.random.key(0), "PBA1", 4))
    table = composite_results.biases({"PBA1": model}, composite_results.Instances(LASSO, 0, 3), 5)
    assert np.all(table["b1"] > 0) and np.all(table["b2"] == 0) and list(table["iteration"]) == [1, 2, 3, 4, 5]


def test_patches_have_no_mean_and_atoms_have_length_one():
    patches = real_data.patches(30, 6, 0.1, size=3)
    np.testing.assert_allclose(np.mean(patches.signals, axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(patches.A, axis=0), 1)
    assert patches.A.shape == (9, 6)


@pytest.mark.parametrize("error", [ConnectionError, ValueError])
def test_without_a_network_other_data_take_their_place_and_say_so(error, monkeypatch, capsys):
    def offline(*args, **kwargs):
        raise error("no network")

    monkeypatch.setattr(real_data, "fetch_openml", offline)
    found = real_data.binary("Spambase", 0.1, online=True)
    assert found.title == "breast cancer (offline stand-in)"
    assert "spambase could not be fetched (no network)" in capsys.readouterr().out
    np.testing.assert_allclose(np.mean(found.distribution.A, axis=0), 0, atol=1e-9)
    digits = real_data.many_classes(0.1, online=True, per_class=3)
    assert digits.title == "digits (offline stand-in)" and digits.distribution.labels.shape == (30, 10)


def test_with_a_network_the_data_are_those_of_the_name(monkeypatch):
    class Bunch:
        data = np.array([[1.0, 5.0], [3.0, 5.0]])
        target = np.array(["g", "b"])

    monkeypatch.setattr(real_data, "fetch_openml", lambda *args, **kwargs: Bunch)
    found = real_data.binary("Ionosphere", 0.1, online=True)
    assert found.title == "Ionosphere"
    np.testing.assert_array_equal(found.distribution.labels, jnp.array([1, 0]))
    np.testing.assert_array_equal(found.distribution.A, [[-1, 0], [1, 0]])
