"""The notebooks of this repository and their list of runs agree."""

from pathlib import Path

import pytest

from fpa.study import notebooks, runs

ROOT = Path(__file__).parents[1]
SPECS = runs.load(ROOT)


@pytest.mark.parametrize("name", SPECS)
def test_the_notebooks_define_their_runs_parameters(name):
    for profile in ("smoke", "laptop", "paper"):
        runs.check_parameters(SPECS[name], profile, ROOT)


@pytest.mark.parametrize("notebook", sorted({spec.notebook for spec in SPECS.values()}))
def test_the_smoke_values_are_the_defaults_of_the_notebooks(notebook):
    spec = next(spec for spec in SPECS.values() if spec.notebook == notebook)
    expected = {"run": spec.name, "profile": "smoke", **spec.values("smoke")}
    assert notebooks.literals(ROOT / "notebooks" / notebook) == expected
