"""Appendix D: a model that may choose tau, and what is claimed of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from models import bound
from test_study_results import ExponentialCurves

import fpa
from fpa.study import claims, plotting, unnormalized

FAMILY = fpa.Lasso(3, 5)
RECIPE = unnormalized.Recipe(
    seeds=2, calibration=10, horizons=[2, 3], updates=[2, 2], batch=4, rate=1e-3, units=6, depth=1
)
MODEL = "SCS+Neural"


def test_a_model_corrects_u_with_tau_and_leaves_v_to_the_map():
    normalizer = unnormalized.calibrate(FAMILY, fpa.role_key(0, "train"), 10)
    model = unnormalized.fresh(FAMILY, normalizer, RECIPE, jax.random.key(0))
    op = bound(FAMILY, 1)
    z, state = model.init(op)
    fz = op(z)[0]
    moved = np.asarray(model.step(op, z, state)[0] - fz)
    half = moved.size // 2
    assert model.unit.size == moved.size == 2 * (op.c.size + op.b.size + 1)
    assert np.abs(moved[:half]).min() > 0 and not moved[half:].any()
    assert op.split(jnp.asarray(moved))[2] == moved[half - 1]


def test_it_is_trained_to_the_same_bits_from_a_checkpoint(tmp_path):
    first, history = unnormalized.train(FAMILY, RECIPE, 0, tmp_path / "a.checkpoint")
    second, _ = unnormalized.train(FAMILY, RECIPE, 0, tmp_path / "a.checkpoint")
    third, _ = unnormalized.train(FAMILY, RECIPE, 0, tmp_path / "b.checkpoint")
    assert fpa.num_models(first.accelerator) == 2 and history["updates"] == [2] * 4
    for other in (second, third):
        assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, other)), strict=True))


@pytest.mark.parametrize(
    ("primal", "early", "late", "holds"), [(5.0, 0.5, 2.0, "yes"), (1.2, 0.5, 2.0, "no"), (5.0, 0.5, 0.5, "no")]
)
def test_claims_of_appendix_d(primal, early, late, holds, tmp_path):
    """`primal`: of primal and dual, times SCS's; `early`, `late`: of the raw residual, up to 25 and after."""
    run = "06_tau_normalisation"
    names = ("SCS", "SCS+AA", MODEL)
    frame = pd.concat([plotting.curves_frame(run, "50 iterations", n, ExponentialCurves(0.1, 0.0)) for n in names])
    ours = frame["method"] == MODEL
    frame.loc[ours & frame["metric"].isin(["primal", "dual"]), "mean"] *= primal
    raw = ours & (frame["metric"] == "fixed_point")
    frame.loc[raw, "mean"] *= np.where(frame.loc[raw, "iteration"] <= 25, early, late)
    scales = frame["metric"] == "tau"
    frame.loc[scales, "mean"] = np.where(ours[scales] & (frame.loc[scales, "iteration"] < 10), 0.1, 1.0)
    (tmp_path / "data").mkdir()
    frame.to_csv(tmp_path / "data" / f"{run}.csv", index=False)
    card = claims.scorecard(tmp_path).set_index("id")
    assert card.loc["C24", "holds"] == holds
    assert card.loc["C25", "holds"] == "yes"
