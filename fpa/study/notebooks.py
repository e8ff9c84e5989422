"""What can be read from a notebook without running it: its cells, its parameters, its imports."""

import ast
import json
from pathlib import Path
from typing import Any

from fpa.study import fingerprint
from fpa.study.errors import StudyError


def cells(path: Path) -> list[tuple[str, str]]:
    """The (type, source) of every cell."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in _read(path)]


def literals(path: Path) -> dict[str, Any]:
    """The parameters of a notebook and their defaults: the assignments in its cell tagged `parameters`."""
    tagged = [cell for cell in _read(path) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise StudyError(f"The notebook {path.name} has {len(tagged)} cells tagged 'parameters'; it needs exactly one.")
    try:
        return dict(map(_assignment, ast.parse("".join(tagged[0]["source"])).body))
    except (ValueError, SyntaxError, AttributeError, TypeError):
        message = "has something else than assignments of literals in its cell tagged 'parameters'"
        raise StudyError(f"The notebook {path.name} {message}.") from None


def imported(path: Path) -> list[str]:
    """The modules of fpa that the code cells import."""
    lines = "\n".join(source for kind, source in cells(path) if kind == "code").splitlines()
    plain = "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    try:
        return sorted(set(fingerprint.imported(ast.parse(plain))))
    except SyntaxError as error:
        raise StudyError(f"The code of the notebook {path.name} is not Python: {error}.") from None


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise StudyError(f"There is no notebook {path.name} in {path.parent}.")
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def _assignment(statement: ast.stmt) -> tuple[str, Any]:
    return statement.targets[0].id, ast.literal_eval(statement.value)  # pyright: ignore[reportAttributeAccessIssue]
