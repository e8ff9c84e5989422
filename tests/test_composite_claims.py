"""What is claimed of L2O-PA, decided from made-up data."""

import pandas as pd
import pytest

from fpa.study import claims, plotting
from fpa.study.claims.composites import CLAIMS, LASSO, LOGISTIC, VARIANTS

PLAIN = {"ISTA": 150, "FISTA": 80, "FISTA+restart": 40, "PG+AA": 60, "Adam": None, "AdamHD": None}
LEARNED = {"L2O-DM": None, "L2O-RNNprop": None, "L2O-PA": 20}
STEPS = 100


def _table(needed, ms=1.0, **extra):
    """A row per method with iterations and milliseconds to 1e-4 and 1e-6."""
    rows = []
    for method, k in needed.items():
        row = {"method": method, "ms per iteration": ms} | extra
        for level in ("1e-02", "1e-04", "1e-06"):
            row |= {f"iterations to {level}": k, f"ms to {level}": None if k is None else ms * k}
        rows.append(row)
    return pd.DataFrame(rows)


def _frame(run, panel, last):
    rows = [
        {"figure": run, "panel": panel, "method": method, "metric": "objective", "iteration": STEPS}
        | dict.fromkeys(("mean", "std", "geomean", "median", "q10", "q90"), value)
        | dict.fromkeys(("num_valid", "num_instances", "num_models"), 1)
        for method, value in last.items()
    ]
    return pd.DataFrame(rows)[plotting.COLUMNS]


@pytest.fixture
def decide(tmp_path):
    """The verdicts by claim, on data with which all claims hold unless `changes` say otherwise."""

    def decide(**changes):
        for folder in ("data", "tables"):
            (tmp_path / folder).mkdir(exist_ok=True)
        variants = {f"L2O-{name}": 30 for name in (*VARIANTS, "PBA12 released")} | {"L2O-PBA": 25}
        released = {"FISTA released": 900, "L2O-PA released": 9, "L2O-PA of the Lasso": 30}
        tables = {
            f"{LASSO}_ablation": _table(variants | changes.get("variants", {})),
            LASSO: _table(PLAIN | LEARNED | {"Ada-LISTA": None} | changes.get("lasso", {})),
            f"{LASSO}_patches": _table(PLAIN | LEARNED | changes.get("patches", {})),
            f"{LASSO}_large": _table(PLAIN | LEARNED | changes.get("large", {})),
            LOGISTIC: _table(PLAIN | LEARNED | released | {"L2O-PA": 1} | changes.get("logistic", {})),
            f"{LOGISTIC}_data": _table(PLAIN | released | {"L2O-PA": 1} | changes.get("data", {}), data="some"),
            f"{LOGISTIC}_long": _table(PLAIN | LEARNED | changes.get("long", {}), data="many"),
            f"{LASSO}_biases": pd.DataFrame(
                {"model": model, "iteration": k, "b1": changes.get(model, 1e-3), "b2": 1e-4}
                for model in ("PBA12", "PBA12, as released")
                for k in range(1, 21)
            ),
        }
        for name, table in tables.items():
            table.to_csv(tmp_path / "tables" / f"{name}.csv", index=False)
        ends = changes.get("ends", {})
        frames = {
            (f"{LASSO}_ablation", "ablation"): dict.fromkeys([f"L2O-{name}" for name in VARIANTS], 1e-9),
            (LASSO, "in distribution"): {"L2O-PA": 1e-9, "L2O-PA safe": 1e-9},
            (LOGISTIC, "in distribution"): dict.fromkeys(["L2O-PA of the Lasso", "L2O-PA of the Lasso safe"], 1e-9)
            | {"L2O-DM": 0.1, "L2O-RNNprop": 0.1},
            (f"{LASSO}_patches", "natural patches"): {"L2O-PA": 1e-9, "L2O-DM": 0.1, "L2O-RNNprop": 0.1},
            (f"{LOGISTIC}_long", "long horizon"): {"L2O-PA": 1e-6, "FISTA": 1e-9},
        }
        for (run, panel), last in frames.items():
            _frame(run, panel, last | ends).to_csv(tmp_path / "data" / f"{run}.csv", index=False)
        table = claims.scorecard(tmp_path).set_index("id")
        return table.loc[[claim.id for claim in CLAIMS]]

    return decide


def test_they_hold_where_the_data_say_so(decide):
    assert set(decide()["holds"]) == {"yes"}


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"variants": {"L2O-PBA1": 20}}, {"L2"}),
        ({"variants": {"L2O-PBA12 released": 20}}, {"L3"}),
        ({"PBA12": 0.5}, {"L4"}),
        ({"PBA12, as released": 0.5}, {"L20"}),
        ({"lasso": {"FISTA+restart": 15}}, {"L6", "L18"}),
        ({"lasso": {"L2O-PA": None}}, {"L5", "L6", "L17", "L18"}),
        ({"logistic": {"FISTA": 5}}, {"L11", "L16"}),
        ({"logistic": {"FISTA released": 500}}, {"L10"}),
        ({"logistic": {"L2O-PA": 11}}, {"L9", "L11"}),
        ({"logistic": {"L2O-PA released": 11}}, {"L9"}),
        ({"logistic": {"PG+AA": 1}}, {"L24"}),
        ({"logistic": {"FISTA+restart": 0.5}}, {"L19", "L24"}),
        ({"patches": {"PG+AA": 15}}, {"L8"}),
        ({"large": {"PG+AA": 15}}, {"L23"}),
        ({"large": {"FISTA": 15}}, {"L14"}),
        ({"data": {"L2O-PA released": 200}}, {"L12"}),
        ({"data": {"L2O-PA": 40}}, {"L13"}),
        ({"long": {"FISTA": 10}}, {"L15"}),
        ({"ends": {"L2O-PA": 1e-3}}, {"L1", "L7", "L21"}),
        ({"ends": {"L2O-PA of the Lasso": 1e-3}}, {"L16"}),
        ({"ends": {"L2O-PA": float("inf")}}, {"L1", "L7", "L21"}),
        ({"ends": {"L2O-PA safe": 1e-3}}, {"L25"}),
        ({"ends": {"L2O-PA of the Lasso safe": 1e-3}}, {"L25"}),
        ({"ends": {"L2O-RNNprop": 1e-9}}, {"L7", "L22"}),
    ],
)
def test_they_fail_where_the_data_say_so(decide, changes, fails):
    table = decide(**changes)
    assert set(table.index[table["holds"] == "no"]) == fails
