"""The table that says whether learning pays: as many iterations, then as much time."""

import pandas as pd
import pytest

from fpa.study import verdict


@pytest.fixture
def folder(tmp_path):
    """SCS's residual is 1/k and the model's 0.4/k; an iteration of the model takes as long as two of SCS."""
    (tmp_path / "data").mkdir()
    (tmp_path / "tables").mkdir()
    curves = [
        {"panel": f"{last} iterations", "method": method, "metric": metric, "iteration": k, "mean": level * part / k}
        for last in (50, 200)
        for method, level in (("SCS", 1.0), (verdict.MODEL, 0.4))
        for metric, part in (("fixed_point", 9.0), ("primal", 1.0), ("dual", 0.5), ("gap", 0.1))
        for k in range(1, last + 1)
    ]
    costs = [
        {"method": method, "batch": size, "setup": 2.0, "iteration": 0.1, "ms per instance": total}
        for method, total in (("SCS", 7.0), (verdict.MODEL, 12.0))
        for size in (1, 500)
    ]
    for run in verdict.FAMILIES.values():
        pd.DataFrame(curves).to_csv(tmp_path / "data" / f"{run}.csv", index=False)
        pd.DataFrame(costs).to_csv(tmp_path / "tables" / f"{run}_cost.csv", index=False)
    return tmp_path


def test_all_methods_have_the_same_iterations_or_the_same_time(folder):
    table = verdict.verdict(folder)
    assert list(table["given"]) == 2 * ["50 iterations", "12 ms, one at a time", "12 ms, in a batch of 500"]
    assert list(table["SCS"][:3]) == pytest.approx([1 / 50, 1 / 100, 1 / 100])
    assert list(table[verdict.MODEL]) == pytest.approx(6 * [0.4 / 50])
    assert all((folder / file).is_file() for file in verdict.NEEDED)
