"""Pictures and claims: drawn and decided from tidy data, and from nothing else."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from fpa.study import claims, plotting
from fpa.study.claims.base import Curves
from fpa.study.errors import StudyError

matplotlib.use("agg")

RATES = {"SCS": 0.14, "SCS+AA": 0.18, "SCS tuned": 0.2}
SPREADS = {"SCS": 0.3, "SCS+AA": 1.2, "SCS tuned": 0.3}
CLAIM_IDS = [claim.id for claim in claims.CLAIMS]


class ExponentialCurves:
    """Residuals exp(-rate k) with a relative standard deviation, as `evaluate` would return them."""

    def __init__(self, rate, spread, num_steps=50):
        self.rate, self.spread, self.num_steps = rate, spread, num_steps

    def records(self):
        counts = {"num_valid": 20, "num_instances": 20, "num_models": 1}
        for metric in plotting.METRICS:
            for k in range(1, self.num_steps + 1):
                m = float(np.exp(-self.rate * k))
                statistics = {"mean": m, "std": self.spread * m, "geomean": m, "median": m, "q10": m / 2, "q90": 2 * m}
                yield {"metric": metric, "iteration": k, **statistics, **counts}


def data(run, rates=RATES, panel="50 iterations"):
    frames = [
        plotting.curves_frame(run, panel, method, ExponentialCurves(rate, SPREADS[method]))
        for method, rate in rates.items()
    ]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def folder(tmp_path):
    """The CSVs of a study."""
    for name in ("data", "tables"):
        (tmp_path / name).mkdir()
    for run in ("02_recurrent_lasso", "02_recurrent_kalman"):
        data(run).to_csv(tmp_path / "data" / f"{run}.csv", index=False)
    for number in (1, 2):
        cells = {
            "quantity": ["m", "cones"],
            "problem": "Lasso",
            "paper": ["204", "[101, 3]"],
            "ours": ["204", "[101, 3]"],
        }
        pd.DataFrame(cells).to_csv(tmp_path / "tables" / f"problem_sizes_{number}.csv", index=False)
    return tmp_path


def row(folder, name):
    claims.write(folder)
    return pd.read_csv(folder / "claims.csv", dtype=str).set_index("id").loc[name]


def test_a_panel_ends_where_it_says_and_equal_ends_are_one_panel():
    curves = {name: ExponentialCurves(rate, SPREADS[name], num_steps=60) for name, rate in RATES.items()}
    frame = plotting.panels_frame("r", curves, (50, 60))
    assert frame.groupby("panel")["iteration"].max().to_dict() == {"50 iterations": 50, "60 iterations": 60}
    pd.testing.assert_frame_equal(
        plotting.panels_frame("r", curves, (50, 50)), frame[frame["panel"] == "50 iterations"]
    )


def test_every_panel_is_labelled_and_logarithmic():
    frame = pd.concat([data("r"), data("r", panel="200 iterations")])
    figure = plotting.convergence(frame, ("fixed_point", "primal", "dual", "gap"), title="Lasso")
    assert len(figure.axes) == 8
    for axes in figure.axes:
        assert axes.get_yscale() == "log"
        assert axes.get_xlabel() == "iteration (applications of the map)"
        assert axes.get_ylabel() and axes.get_title()
    assert (
        figure.get_suptitle() == r"Lasso – mean $\pm$ standard deviation (cut at a tenth of the mean) over 20 instances"
    )
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(RATES)


@pytest.mark.parametrize("band", plotting.BANDS)
def test_bands_stay_positive_around_their_line(band):
    chosen, frame = plotting.BANDS[band], data("r")
    assert (chosen.lower(frame) > 0).all()
    assert (chosen.lower(frame) <= frame[chosen.center]).all()
    assert (chosen.upper(frame) >= frame[chosen.center]).all()
    plotting.convergence(frame, band=band).canvas.draw()


def test_a_method_on_another_map_has_no_fixed_point_curve():
    left, right = plotting.convergence(data("r"), ("fixed_point", "primal")).axes
    assert [line.get_label() for line in left.lines] == ["SCS", "SCS+AA"]
    assert [line.get_label() for line in right.lines] == ["SCS", "SCS+AA", "SCS tuned"]


def test_residuals_of_points_start_where_there_are_points():
    frame = data("r")
    frame.loc[frame["iteration"] <= 2, "num_valid"] = 0
    frame.loc[frame["iteration"] == 3, "num_valid"] = 7
    left, right = plotting.convergence(frame, ("fixed_point", "primal")).axes
    assert left.lines[0].get_xdata()[0] == 1
    assert right.lines[0].get_xdata()[0] == 3


def test_colours_and_order_do_not_depend_on_the_data():
    few = plotting.convergence(data("r", {"SCS+AA": 0.1, "SCS": 0.2}), ("primal",)).axes[0].lines
    many = plotting.convergence(data("r"), ("primal",)).axes[0].lines
    assert [(line.get_label(), line.get_color()) for line in few] == [
        (line.get_label(), line.get_color()) for line in many[:2]
    ]


def test_no_two_methods_of_one_picture_look_alike():
    apart = {"dr": "dr", "gradient": "gradient"}
    looks = [(apart.get(m.map, "scs"), m.color, str(m.line)) for m in plotting.METHODS.values()]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"method": "SCS+Magic"}, r"no method 'SCS\+Magic'; there are: SCS, "),
        ({"metric": "prmal"}, "no metric 'prmal'"),
        ({"extra": 1}, "columns"),
    ],
)
def test_what_cannot_be_drawn_is_named(change, culprit):
    with pytest.raises(StudyError, match=culprit):
        plotting.convergence(data("r").assign(**change))
    with pytest.raises(StudyError, match="no band 'quartiles'"):
        plotting.convergence(data("r"), band="quartiles")


def test_a_claim_follows_from_the_data_alone(folder):
    assert row(folder, "B01")["ours"] == "50"
    assert row(folder, "B01")["holds"] == "yes"
    data("02_recurrent_lasso", RATES | {"SCS": 0.7}).to_csv(folder / "data" / "02_recurrent_lasso.csv", index=False)
    assert row(folder, "B01")["ours"] == "10"
    assert row(folder, "B01")["holds"] == "no"
    (folder / "claims.csv").write_text("id,holds\nB01,yes\n")
    assert row(folder, "B01")["holds"] == "no"


def test_the_tables_claims_count_cells(folder):
    assert row(folder, "T1")["ours"] == "2 of 2 cells equal"
    table = folder / "tables" / "problem_sizes_1.csv"
    table.write_text(table.read_text().replace("204,204", "204,205"))
    assert list(row(folder, "T1")[["ours", "holds"]]) == ["1 of 2 cells equal", "no"]
    table.write_text("quantity,problem,paper,ours\n")
    assert row(folder, "T1")["holds"] == "no"


def test_the_spread_of_anderson_acceleration(folder):
    assert list(row(folder, "C06")[["ours", "holds"]]) == ["Lasso 4, Kalman 4", "yes"]


def test_a_claim_without_its_data_is_absent(folder):
    (folder / "data" / "02_recurrent_kalman.csv").unlink()
    claims.write(folder)
    decided = set(pd.read_csv(folder / "claims.csv")["id"])
    assert decided == {"T1", "T2", "B01", "B02"}
    assert decided | set(claims.undecided(folder)) == set(CLAIM_IDS)


def test_no_data_decide_nothing(tmp_path):
    claims.write(tmp_path)
    assert (tmp_path / "claims.csv").read_text() == "id,source,statement,paper,ours,holds\n"


def test_claims_are_told_apart():
    assert len(set(CLAIM_IDS)) == len(CLAIM_IDS)


def test_the_quantities_of_a_claim():
    curves = Curves("r", "50 iterations", data("r"))
    assert curves.m("SCS", "primal", 10) == pytest.approx(np.exp(-1.4))
    assert curves.gain("SCS+AA", 10) == pytest.approx(np.exp(0.4))
    assert curves.cross("SCS", 1e-2) == int(np.ceil(np.log(100) / 0.14))
    assert curves.cross("SCS", 1e-9) is None
    assert curves.spread("SCS+AA", 20, 50) == pytest.approx(1.2)


def test_a_claim_compares_only_what_is_comparable():
    curves = Curves("r", "50 iterations", data("r"))
    assert curves.gain("SCS tuned", 10, "primal") > 1
    with pytest.raises(StudyError, match="SCS tuned iterates another map"):
        curves.gain("SCS tuned", 10)
    with pytest.raises(claims.Missing, match="iteration 60"):
        curves.m("SCS", "primal", 60)
    with pytest.raises(StudyError, match="no method 'SCS2'"):
        curves.m("SCS2", "primal", 1)
