"""The heat map of gains shows what the data say, and compares no residuals of different maps."""

import pandas as pd
import pytest

from fpa.study import overview
from fpa.study.plotting import COLUMNS

LEVELS = {"SCS": 8.0, "SCS+AA": 4.0, "SCS+AA-II": 3.0, "SCS tuned": 2.0}


def frame(panel: str, learned: str, level: float) -> pd.DataFrame:
    rows = [
        {"figure": "demo", "panel": panel, "method": method, "metric": metric, "iteration": k, "geomean": value / k}
        for method, value in (LEVELS | {learned: level}).items()
        for metric in ("fixed_point", "fixed_point_normalized", "primal", "dual", "gap")
        for k in overview.ITERATIONS
    ]
    return pd.DataFrame(rows).reindex(columns=COLUMNS).assign(num_instances=512, num_models=3)


def test_gains_are_ratios_of_geometric_means_by_family():
    large = pd.concat([frame("50 iterations", "SCS+Neural", 1.0), frame("200 iterations", "SCS+Neural", 9.0)])
    small = pd.concat([frame("2 steps", "SCS+Neural-MLP", 2.0), frame("3 steps", "SCS+Neural-MLP", 16.0)])
    table = overview.overview({"02_recurrent_lasso": large, "04_dynamic": small})
    assert list(table.index.get_level_values("panel")) == ["", "2 steps", "3 steps"]
    assert list(table["over SCS"]["fixed_point"][10]) == [8.0, 4.0, 0.5]
    assert list(table["over SCS+AA"]["fixed_point"][50]) == [4.0, 2.0, 0.25]
    assert list(table["over SCS tuned"]["dual"][5]) == [2.0, 1.0, 0.125]
    assert ("over SCS tuned", "fixed_point", 5) not in table.columns
    assert list(table.index[1]) == ["Dynamic Lasso (Figure 7)", "2 steps", 512, 3]
    figure = overview.draw(table)
    assert figure.axes[0].get_yticklabels()[1].get_text() == "Dynamic Lasso (Figure 7): 2 steps (512 × 3)"
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(figure.axes) == 5 and len(texts) == 5 * 3 * 4 and {"8", "0.25"} <= set(texts)


@pytest.mark.parametrize(
    ("gain", "text"), [(0.034, "0.034"), (99.0, "99"), (99.97, "100"), (1234.5, "1,234"), (3e6, "3e+06")]
)
def test_a_cell_is_short(gain, text):
    assert overview._short(gain) == text
