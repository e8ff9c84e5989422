"""The paper's two families at full size: the baselines cross the paper's levels where the paper's do.

The windows are wide enough for 50 instances; the study measures on 500 and more.
"""

import pytest

from fpa.accelerators import AndersonAcceleration, Picard
from fpa.distributions import Lasso, RobustKalman, role_key
from fpa.evaluation import evaluate, iterations_to
from fpa.maps import SCS
from fpa.solver import Solver

FAMILIES = {"lasso": (Lasso, 1e-3), "kalman": (RobustKalman, 1e-2)}
METHODS = {"SCS": Picard(), "SCS+AA": AndersonAcceleration(memory=5)}
WINDOWS = {
    ("lasso", "SCS"): (43, 51),
    ("lasso", "SCS+AA"): (32, 42),
    ("kalman", "SCS"): (26, 35),
    ("kalman", "SCS+AA"): (26, 37),
}


@pytest.mark.parametrize(("family", "method"), WINDOWS)
def test_baselines_cross_where_the_papers_do(family, method):
    distribution, level = FAMILIES[family]
    solver = Solver(SCS(), METHODS[method])
    curves = evaluate(solver, distribution(), role_key(0, "validation"), num_instances=50, num_steps=55)
    first, last = WINDOWS[family, method]
    assert first <= iterations_to(curves.mean("fixed_point"), level) <= last
    assert not curves.valid[0, :, 0].all() and curves.valid[0, :, 4:].all()
