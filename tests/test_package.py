"""The package as a plain `pip install fpa` leaves it: without the notebooks' packages, away from the repository."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

# Runs its last argument as code; the modules named before it cannot be imported.
ISOLATED = """
import sys
*hidden, code = sys.argv[1:]
class Hide:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide)
exec(compile(code, "snippet", "exec"))
"""

FLAGS = """
import sys
import jax
before = dict(jax.config.values)
import fpa
assert dict(jax.config.values) == before
assert not [name for name in sys.modules if name.startswith("fpa.study")]
"""


def closure(requirements: Iterable[str]) -> set[str]:
    """The distributions that requirements bring with them."""
    found: set[tuple[str, str]] = set()

    def visit(line: str, wanted: str) -> None:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": wanted}):
            return
        for extra in requirement.extras or {""}:
            name = canonicalize_name(requirement.name)
            if (name, extra) not in found:
                found.add((name, extra))
                for inner in requires(name) or []:
                    visit(inner, extra)

    for line in requirements:
        visit(line, "")
    return {name for name, _ in found}


def hidden_modules() -> list[str]:
    """The installed modules that `pip install fpa` would not have brought."""
    core = closure(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]) | {"fpa"}
    return [name for name, owners in packages_distributions().items() if not core & set(map(canonicalize_name, owners))]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (path,) = folder.glob("fpa-*.whl")
    return path


@pytest.fixture(scope="module")
def isolated(wheel, tmp_path_factory):
    """Runs code from an empty folder with the wheel installed and the packages of the extras hidden."""
    target, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(command, check=True, capture_output=True)
    hidden = hidden_modules()

    def run(code: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ISOLATED, *hidden, code]
        environment = os.environ | {"PYTHONPATH": str(target)}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)

    run.target = target
    return run


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"fpa/__init__.py", "fpa/py.typed"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fpa"}
    assert {Path(name).suffix for name in names if name.startswith("fpa/")} == {".py", ".typed"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize("module", ["pandas", "matplotlib", "seaborn", "papermill", "jupyterlab", "yaml", "pytest"])
def test_the_packages_of_the_extras_are_hidden(isolated, module):
    assert f"No module named '{module}'" in isolated(f"import {module}").stderr


def test_the_wheel_is_what_is_imported(isolated):
    assert isolated("import fpa; print(fpa.__file__)").stdout.startswith(str(isolated.target))


def test_the_readme_snippets_run_without_the_extras(isolated):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    assert len(snippets) == 2
    result = isolated("\n".join(snippets))
    assert result.returncode == 0, result.stderr


def test_import_touches_no_flag_and_not_the_study(isolated):
    result = isolated(FLAGS)
    assert result.returncode == 0, result.stderr
