"""`manifest.json` of a profile: what made every committed product, and how the product is recognised."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fpa.study.errors import StudyError
from fpa.study.files import sha256
from fpa.study.writing import write_text

_PACKAGES = (
    "clarabel",
    "cvxpy",
    "equinox",
    "jax",
    "jaxlib",
    "matplotlib",
    "numpy",
    "optax",
    "pandas",
    "papermill",
    "scikit-learn",
    "scipy",
    "scs",
    "seaborn",
)


def read(folder: Path) -> dict[str, Any]:
    """The entries of the manifest under `figures/<profile>/`, by run."""
    file = folder / "manifest.json"
    try:
        return json.loads(file.read_text())["runs"] if file.is_file() else {}
    except (json.JSONDecodeError, KeyError):
        raise StudyError(f"{file} is damaged; delete it and run the study again.") from None


def write(folder: Path, entries: Mapping[str, Any]) -> None:
    """Write the manifest with the same bytes for the same entries."""
    write_text(folder / "manifest.json", to_json({"runs": entries}))


def to_json(value: Any) -> str:
    """JSON for people and version control: sorted, indented, ending in a newline."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def digests(folder: Path, products: Iterable[str]) -> dict[str, str]:
    """The sha256 of those `products` that are there."""
    return {product: sha256(folder / product) for product in products if (folder / product).is_file()}


def origin(root: Path) -> dict[str, Any]:
    """The code and the software a run starts from: commit, whether the tree differs from it, versions."""
    status = _git(root, "status", "--porcelain", "--", ".", ":!figures")
    return {
        "commit": _git(root, "rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": ".".join(map(str, sys.version_info[:3])),
        "packages": {name: number for name in _PACKAGES if (number := _version(name))},
    }


def _git(root: Path, *arguments: str) -> str | None:
    """What git answers, or None where there is no git or no commit yet."""
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
