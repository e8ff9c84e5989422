"""The repository's root, where products are, and what identifies their content."""

import hashlib
from pathlib import Path

from fpa.study.errors import StudyError


def find_root(start: str | Path | None = None) -> Path:
    """The nearest folder at or above `start` (the current directory) that holds a `pyproject.toml`."""
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise StudyError(f"{here} is not inside a clone of the repository: no folder at or above it has a pyproject.toml.")


def model_of(run: str, part: str = "") -> str:
    """The product that holds the models of a run, or those of a part of it."""
    return f"models/{run}{part}.npz"


def data_of(run: str, suffix: str = "") -> str:
    """The product that holds the data of a run's figure."""
    return f"data/{run}{suffix}.csv"


def find_product(folder: Path, name: str) -> Path:
    """Where a product is: in `folder`, its profile's figures, or else among the committed ones (laptop)."""
    paths = [profile / name for profile in (folder, folder.parent / "laptop")]
    return next((path for path in paths if path.is_file()), paths[0])


def sha256(content: bytes | str | Path) -> str:
    """The hexadecimal digest of bytes, of text, or of a file's content."""
    if isinstance(content, Path):
        content = content.read_bytes()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
