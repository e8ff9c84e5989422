"""The small families between Lasso and Kalman filtering: what they are, how models learn them, what is claimed."""

import jax
import numpy as np
import pandas as pd
import pytest
from test_study_results import ExponentialCurves

import fpa
from fpa.accelerators import MLP as Dense
from fpa.study import claims, gains, plotting, staged, variants
from fpa.study.claims.base import Curves

PANELS = [(name, panel) for name, variant in variants.VARIANTS.items() for panel in variant.panels]
MLP = "SCS+Neural-MLP"
RECIPE = staged.Recipe(
    access=[2],
    seeds=2,
    pool=12,
    calibration=10,
    first_updates=4,
    updates=3,
    batch=4,
    rate=1e-3,
    width=8,
    hidden=16,
    depths=[1, 1],
    bits=8,
)


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_where_something_is_fixed_there_is_a_dataset_for_each_fixed_part(name, panel):
    chosen = variants.VARIANTS[name].panels[panel]
    first, *others = chosen.distributions(0, 2)
    assert len(others) == chosen.fixed
    assert all(jax.tree.structure(other) == jax.tree.structure(first) for other in others)
    parts = lambda each: [leaf for leaf in jax.tree.leaves(each) if np.issubdtype(np.asarray(leaf).dtype, np.floating)]  # noqa: E731
    for other in others:
        assert not all(np.array_equal(a, b) for a, b in zip(parts(first), parts(other), strict=True))
    layout = variants.family_of(first).layout(first) if "F" in first.canonical.shapes else None
    sizes = first.canonical.c.base.size + 2 * first.canonical.b.base.size
    assert layout is None or (layout.size == sizes and len(layout.groups) == 3)


@pytest.mark.parametrize("fixed", [True, False])
def test_models_are_trained_once_and_again_to_the_same_bits(fixed, tmp_path, monkeypatch):
    """A family with a fixed matrix has dense networks; a lost checkpoint is trained again, the others are kept."""
    lasso = fpa.Lasso(3, 5)
    distribution = fpa.FixedLasso.draw(lasso, jax.random.key(0), "F") if fixed else lasso
    family = variants.family_of(distribution)
    first, losses = staged.train(family, distribution, RECIPE, 0, tmp_path / "a.checkpoint")
    kept = sorted(tmp_path.iterdir())
    assert len(first) == len(kept) == 2 and len(losses) == 2 and np.isfinite(losses).all()
    kind = type(first[0].accelerator.initializer.network).__name__
    assert kind == ("GatedNetwork" if fixed else "SiteNetwork")
    kept[1].unlink()
    second, again = staged.train(family, distribution, RECIPE, 0, tmp_path / "a.checkpoint")
    monkeypatch.setattr(staged, "regress", None)
    third, _ = staged.train(family, distribution, RECIPE, 0, tmp_path / "a.checkpoint")
    assert again == losses
    for other in (second, third):
        for a, b in zip(*map(jax.tree.leaves, (first, other)), strict=True):
            assert np.array_equal(a, b)
    seeds = zip(*(jax.tree.leaves(solver) for solver in first), strict=True)
    assert not all(np.array_equal(a, b) for a, b in seeds)


def test_a_trained_model_is_an_intermittent_one_and_runs(tmp_path):
    distribution = fpa.FixedLasso.draw(fpa.Lasso(3, 5), jax.random.key(0), "F")
    panel = variants.Panel(lambda key: distribution)
    recipe = staged.Recipe(**vars(RECIPE) | {"seeds": 1})
    ensemble, history = variants.train(panel, recipe, 2, 0, tmp_path / "a.checkpoint")
    assert fpa.num_models(ensemble.accelerator) == 2 and len(history["losses"]) == 2
    models = [fpa.member(ensemble, index) for index in range(2)]
    assert models[0].accelerator.boundaries == (2,)
    curves = gains.evaluate([distribution] * 2, [[model] for model in models], jax.random.key(1), 3, 6, "x")
    assert curves.values["primal"].shape == (2, 3, 6) and np.isfinite(curves.values["primal"]).all()


def _frame(run, panels, invalid=0):
    """Curves in which the learned method falls `rate` times as fast as SCS (0.1)."""
    frames = []
    for panel, rates in panels.items():
        for method, rate in rates.items():
            frames.append(plotting.curves_frame(run, panel, method, ExponentialCurves(rate, 0.3)))
    frame = pd.concat(frames, ignore_index=True)
    frame.loc[frame["iteration"] <= invalid, "num_valid"] = 3
    return frame


def test_gains_are_ratios_of_geometric_means_and_skip_what_cannot_be_compared():
    frame = _frame("r", {"q": {"SCS": 0.1, "SCS+AA": 0.2, "SCS+AA-II": 0.4, "SCS tuned": 0.3, MLP: 0.5}})
    table = gains.gains(frame, iterations=(5, 10)).set_index(["metric", "iteration"])
    assert table.loc[("primal", 10), "over SCS"] == pytest.approx(np.exp(4))
    assert table.loc[("primal", 5), "over SCS+AA"] == pytest.approx(np.exp(1.5))
    assert table.loc[("primal", 5), "over SCS+AA-II"] == pytest.approx(np.exp(0.5))
    assert table.loc[("primal", 5), "over SCS tuned"] == pytest.approx(np.exp(1))
    assert np.isnan(table.loc[("fixed_point", 5), "over SCS tuned"])


def test_average_gains_are_geometric_and_count_from_where_there_are_points():
    frame = _frame("r", {"q": {"SCS": 0.1, MLP: 0.5}}, invalid=2)
    table = gains.averages(frame, last=8).set_index("metric")
    assert list(table["first"]) == [1, 4, 4, 4, 4]
    assert table["average"].tolist() == pytest.approx([np.exp(0.4 * 4.5)] + 4 * [np.exp(0.4 * 6)])
    assert table["least"].tolist() == pytest.approx([np.exp(0.4)] + 4 * [np.exp(1.6)])


def test_residuals_at_tau_one_count_from_where_there_are_points():
    frame = _frame("r", {"q": {"SCS": 0.1, MLP: 0.5}}, invalid=2)
    assert Curves("r", "q", frame).settled("SCS", MLP) == 4
    assert Curves("r", "q", _frame("r", {"q": {"SCS": 0.1, MLP: 0.5}})).settled("SCS", MLP) == 1


CASES = {
    "C13": ("04_original", ["p = 10, q = 20"], {(0.5, 0.1): "exceeded", (0.1, 0.1): "yes"}),
    "C14": ("04_fixed_source", ["q = 20"], {(0.5, 0.1): "yes", (0.12, 0.1): "no"}),
    "C15": ("04_fixed_source", ["q = 20"], {(1.5, 0.1): "yes", (0.5, 0.1): "no", (0.1, 0.2): "no"}),
    "C18": ("04_dynamic", ["2 steps", "3 steps"], {(0.5, 0.1): "yes", (0.15, 0.1): "no", (0.5, 0.2): "no"}),
    "C21": ("05_density", ["density 0.3", "density 0.5"], {(0.5, 0.1): "exceeded", (0.05, 0.1): "no"}),
    "C22": ("05_fixed_parts", ["fixed noise"], {(0.5, 0.1): "exceeded", (0.15, 0.1): "yes", (0.05, 0.1): "no"}),
    "C19": ("04_dynamic_dense", ["2 steps", "3 steps"], {(0.5, 0.1): "exceeded", (0.05, 0.1): "no"}),
    "C23": ("05_fixed_parts", ["fixed solution"], {(0.5, 0.1): "exceeded", (0.1, 0.1): "yes"}),
}


@pytest.mark.parametrize(("claim", "rates"), [(claim, rates) for claim, case in CASES.items() for rates in case[2]])
def test_a_claim_of_section_6_is_decided_by_the_rates_of_its_methods(claim, rates, tmp_path):
    """The learned method and AA fall at the given rates, SCS at 0.1."""
    run, panels, expected = CASES[claim]
    (tmp_path / "data").mkdir()
    methods = {"SCS": 0.1, "SCS+AA": rates[1], MLP: rates[0]}
    frames = {"04_fixed_source": _frame("04_fixed_source", {"q = 20": {"SCS": 0.1, "SCS+AA": 0.1, MLP: 0.3}})}
    frames[run] = _frame(run, {panel: methods for panel in panels})
    for name, frame in frames.items():
        frame.to_csv(tmp_path / "data" / f"{name}.csv", index=False)
    card = claims.scorecard(tmp_path).set_index("id")
    assert card.loc[claim, "holds"] == expected[rates]


SIGMAS = [f"sigma = 1e-{k}" for k in (2, 3, 4)]
UNLIKE = {
    ("C16", "04_reduced_noise"): {
        "yes": [dict.fromkeys(SIGMAS, 0.7)],
        "no": [dict(zip(SIGMAS, rates, strict=True)) for rates in ((0.7, 0.7, 0.8), (0.9, 0.9, 1.0))],
    },
    ("C17", "04_more_observations"): {
        "yes": [{"q = 40": 0.29, "q = 60": 0.29}],
        "no": [{"q = 40": 0.29, "q = 60": 0.2}],
    },
    ("C19", "04_dynamic_dense"): {
        "yes": [{"2 steps": 0.11, "3 steps": 0.5}],
        "no": [{"2 steps": 0.5, "3 steps": 0.1}],
        "exceeded": [{"2 steps": 0.5, "3 steps": 0.5}],
    },
}


@pytest.mark.parametrize(
    ("claim", "run", "holds", "rates"),
    [(*key, holds, rates) for key, case in UNLIKE.items() for holds in case for rates in case[holds]],
)
def test_a_claim_that_compares_panels_looks_at_each(claim, run, holds, rates, tmp_path):
    """SCS and AA fall at 0.1 with 20 observations and at 0.08 elsewhere, the learned method as told."""
    (tmp_path / "data").mkdir()
    slow = 0.08 if claim == "C17" else 0.1
    panels = {panel: {"SCS": slow, "SCS+AA": slow, MLP: rate} for panel, rate in rates.items()}
    base = {"q = 20": {"SCS": 0.1, "SCS+AA": 0.1, MLP: 0.3}}
    for name, frame in {"04_fixed_source": base, run: panels}.items():
        _frame(name, frame).to_csv(tmp_path / "data" / f"{name}.csv", index=False)
    assert claims.scorecard(tmp_path).set_index("id").loc[claim, "holds"] == holds


@pytest.mark.parametrize("bits", [4, 7, 11])
def test_rounded_matrices_keep_so_many_bits(bits):
    network = Dense(jax.random.key(0), 5, 3, 8, depth=2)
    rounded = staged.rounded(network, bits)
    assert jax.tree.structure(rounded) == jax.tree.structure(network)
    for before, after in zip(jax.tree.leaves(network), jax.tree.leaves(rounded), strict=True):
        mantissa = np.frexp(np.asarray(after, np.float64))[0] * 2 ** (bits if after.ndim == 2 else 11)
        np.testing.assert_array_equal(mantissa, np.round(mantissa))
        np.testing.assert_allclose(after, before, rtol=2.0**-bits, atol=1e-7)
