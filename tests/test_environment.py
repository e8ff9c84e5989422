"""One environment: pyproject.toml, the lock, environment.yml, make and the continuous integration agree."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;]+)( ; (?P<marker>.+))?")
TEST_COMMAND = "make test"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = PROJECT["dependencies"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


def pins(lock: str) -> dict[str, tuple[Version, Marker | None]]:
    """The lock's packages; every line has to be a comment or one exact version of a package not named before."""
    found: dict[str, tuple[Version, Marker | None]] = {}
    for line in lock.splitlines():
        if line.startswith("#"):
            continue
        match = PIN.fullmatch(line)
        if match is None:
            raise ValueError(f"The lock's line {line!r} is not an exact version.")
        name = canonicalize_name(match["name"])
        if name in found:
            raise ValueError(f"The lock has {name} twice.")
        found[name] = Version(match["version"]), Marker(match["marker"]) if match["marker"] else None
    return found


def disagreements(requirements: Iterable[str], lock: str) -> list[str]:
    """The requirements that the lock does not satisfy on every Python and platform."""
    locked, found = pins(lock), []
    for requirement in map(Requirement, requirements):
        version, marker = locked.get(canonicalize_name(requirement.name), (None, None))
        if version is None or marker is not None or version not in requirement.specifier:
            found.append(str(requirement))
    return found


def undeclared(paths: Iterable[Path], requirements: Iterable[str]) -> set[str]:
    """The third-party modules that Python files import without a requirement of their own."""
    declared = {canonicalize_name(Requirement(requirement).name) for requirement in requirements}
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    modules = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"fpa"}
    owners = packages_distributions()
    return {name for name in modules if not declared & set(map(canonicalize_name, owners.get(name, [])))}


def commands(text: str) -> list[str]:
    """The make commands of a script, a workflow or a README, in their order."""
    return re.findall(r"^\s*(?:- run: |\$ )?(make [a-z-]+)\b", text, flags=re.MULTILINE)


def test_the_lock_satisfies_every_requirement():
    everything = [*CORE, *(requirement for extra in EXTRAS.values() for requirement in extra)]
    assert disagreements(everything, (ROOT / "requirements.lock").read_text()) == []


def test_the_lock_holds_what_is_needed_to_build():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert disagreements(build, (ROOT / "requirements.lock").read_text()) == []


def test_imports_are_declared():
    study, core = set((ROOT / "fpa" / "study").rglob("*.py")), set((ROOT / "fpa").rglob("*.py"))
    assert undeclared(core - study, CORE) == set()
    assert undeclared(study, [*CORE, *EXTRAS["study"]]) == set()


@pytest.mark.parametrize(
    ("requirement", "lock"),
    [("jax>=2", "jax==1.0"), ("jax", "numpy==1.0"), ("jax", "jax==1.0 ; python_version < '3.12'")],
)
def test_a_disagreement_is_found(requirement, lock):
    assert disagreements([requirement], lock) == [requirement]


@pytest.mark.parametrize(
    "lock", ["jax>=1", "jax==1\njax==2 ; python_version < '3.12'", "-e .", "jax @ https://example.org"]
)
def test_a_loose_lock_is_refused(lock):
    with pytest.raises(ValueError, match="The lock"):
        pins(lock)


def test_an_undeclared_import_is_found(tmp_path):
    (tmp_path / "module.py").write_text("import ast, numpy\nfrom yaml.nodes import Node\nimport fpa\nfrom . import x\n")
    assert undeclared(tmp_path.glob("*.py"), ["NumPy>=2"]) == {"yaml"}


def test_the_conda_environment_is_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert python.removeprefix("python=") in PYTHONS
    assert pip == ["-r requirements.lock", "-e ."]


def test_supported_pythons_are_tested():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    supported = SpecifierSet(PROJECT["requires-python"])
    assert all(version in supported for version in PYTHONS)
    assert job["strategy"]["matrix"]["python"] == [PYTHONS[0], PYTHONS[-1]]


@pytest.mark.parametrize("name", [".ci/run", ".github/workflows/ci.yml"])
def test_integration_lints_and_tests_as_the_readme_says(name):
    assert commands((ROOT / name).read_text()) == ["make lint", TEST_COMMAND]
    assert TEST_COMMAND in commands((ROOT / "README.md").read_text())


def test_pre_commit_fetches_nothing():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert {hook["language"] for repo in repos for hook in repo["hooks"]} == {"system"}
