"""What is claimed of learned metrics, decided from made-up data."""

import pandas as pd
import pytest

from fpa.study import claims, plotting
from fpa.study.claims.metrics import FAMILIES

LEVELS = {
    "DR": 1e-1,
    "DR tuned": 1e-3,
    "DR Giselsson-Boyd": 1e-2,
    "DR constant metric": 1e-4,
    "DR learned metric": 1e-5,
}
AT = ("at 10", "median at 10", "at 30")
SCS = {"SCS tuned": 1e-3, "SCS learned metric": 1e-4}


def _frame(run, panel, levels, metrics, steps=30):
    rows = [
        {"figure": run, "panel": panel, "method": method, "metric": metric, "iteration": k}
        | dict.fromkeys(("mean", "std", "geomean", "median", "q10", "q90"), level * 0.69 ** (k - 10))
        | dict.fromkeys(("num_valid", "num_instances", "num_models"), 1)
        for method, level in levels.items()
        for metric in metrics
        for k in range(1, steps + 1)
    ]
    return pd.DataFrame(rows)[plotting.COLUMNS]


@pytest.fixture
def write(tmp_path):
    """Everything the claims read, where all of them hold; entries of `changes` replace it."""

    def write(levels=LEVELS, scs=SCS, auc=0.95, rho=0.8, solved=1.0, setup=0.1, top=1e-5, refined=1e-5, large=2.0):
        for folder in ("data", "tables"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for name in FAMILIES:
            run = f"20_metric_{name}"
            _frame(run, name.replace("_", " "), levels, ["error"]).to_csv(tmp_path / "data" / f"{run}.csv")
            tables = {
                "activity": [{"AUC": auc, "active": 0.4}],
                "losses": [{"on top of": base} | dict.fromkeys(AT, top) for base in ("identity", "one for all")],
                "shifted": [
                    {"parameters times": times, "method": m, "solved": solved if times > 1 else 1.0, "iterations": 30}
                    for m in ("DR", "DR learned metric")
                    for times in (1, 3)
                ],
                "cost": [
                    {"method": "DR tuned", "batch": 500, "setup": 0.0, "iteration": 0.1},
                    {"method": "DR learned metric", "batch": 500, "setup": setup, "iteration": 0.1},
                ],
            }
            for table, rows in tables.items():
                pd.DataFrame(rows).to_csv(tmp_path / "tables" / f"{run}_{table}.csv", index=False)
            alone = pd.DataFrame([{"method": "DR constant metric"} | dict.fromkeys(AT, levels["DR constant metric"])])
            alone.to_csv(tmp_path / "tables" / f"{run}.csv", index=False)
        grid = [
            {"n": n, "ratio": 4.0, "inequalities": 4 * n, "active": 0.3, "gain over tuned": large} for n in (10, 50)
        ]
        pd.DataFrame(grid).to_csv(tmp_path / "tables" / "21_many_inequalities.csv", index=False)
        rows = [{"gain over": word, "feature": "ratio", "rho": rho} for word in ("identity", "tuned")]
        pd.DataFrame(rows).to_csv(tmp_path / "tables" / "21_many_inequalities_correlations.csv", index=False)
        for problem in ("lasso", "kalman"):
            run = f"22_scs_metric_{problem}"
            _frame(run, "50 iterations", scs, ["primal", "dual", "gap"]).to_csv(tmp_path / "data" / f"{run}.csv")
            worst = {"": ("method", "SCS constant metric", 1e-4)}
            worst["_variants"] = ("variant", "learned metric on the constant one", refined)
            for part, (column, name, level) in worst.items():
                row = pd.DataFrame([{column: name, "at 20": level, "at 50": level}])
                row.to_csv(tmp_path / "tables" / f"{run}{part}.csv", index=False)
        card = claims.scorecard(tmp_path).set_index("id")
        return card[card.index.str.startswith("M")]

    return write


def test_all_can_hold(write):
    card = write(levels=LEVELS | {"DR": 3e-4, "DR learned metric": 1e-6})
    assert len(card) == 15
    assert card["holds"].drop("M5").eq("yes").all(), card


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"levels": LEVELS | {"DR learned metric": 1e-2}}, {"M1", "M2", "M3", "M4", "M6"}),
        ({"levels": LEVELS | {"DR tuned": 1e-6}}, {"M1", "M2", "M3", "M4", "M10"}),
        ({"levels": LEVELS | {"DR constant metric": 1e-6}}, {"M12"}),
        ({"top": 2e-4}, {"M13"}),
        ({"refined": 2e-4}, {"M14"}),
        ({"auc": 0.8}, {"M7"}),
        ({"rho": 0.2}, {"M8"}),
        ({"large": 0.9}, {"M15"}),
        ({"solved": 0.99}, {"M9"}),
        ({"setup": 5.0}, {"M10"}),
        ({"scs": SCS | {"SCS learned metric": 2e-3}}, {"M11"}),
    ],
)
def test_each_can_fail(write, changes, failing):
    holds = write(**changes)["holds"].drop("M5")
    assert failing <= set(holds[holds == "no"].index)
    assert {"M7", "M8", "M9", "M11"} & set(holds[holds == "no"].index) == {"M7", "M8", "M9", "M11"} & failing


def test_a_table_of_older_code_decides_nothing(write, tmp_path):
    before = write()
    table = tmp_path / "tables" / "20_metric_toy_losses.csv"
    pd.read_csv(table).drop(columns="on top of").to_csv(table, index=False)
    after = claims.scorecard(tmp_path).set_index("id")
    assert set(before.index) - set(after.index) == {"M13"} and "M13" in claims.undecided(tmp_path)


@pytest.mark.parametrize(("factor", "holds"), [(1.0, "yes"), (50.0, "no")])
def test_the_identity_is_compared_at_three_iterations(write, factor, holds):
    card = write(levels=LEVELS | {"DR": 1.0e-4 * factor})
    assert card.loc["M5", "holds"] == holds
