"""Code that computes what older code computed, to the bit, so that trained models outlive a change of structure.

A model's key covers all code that trains it. A change of that code which changes no number, as when a class is split
in two, would therefore ask for hours of training that end in the same weights. `python -m fpa.study carry` finds out
whether it is such a change, and notes in `figures/equivalent.json` which code stands for which older code, and by which
runs that was shown. Models are then found under the older keys too (`fpa.study.models`); `run --fresh` trains them
anew all the same.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fpa.study.writing import write_text

_FILE = Path("figures", "equivalent.json")


def older(root: Path, digest: str) -> list[str]:
    """The digests of older code for which the code with this digest stands, the latest first."""
    known, found = read(root), [digest]
    for current in found:
        found += [entry["was"] for entry in known if entry["is"] == current and entry["was"] not in found]
    return found[1:]


def read(root: Path) -> list[dict[str, Any]]:
    """What is noted: entries with the digests `was` and `is`, the modules `code`, `commit` and the runs `shown_by`."""
    file = root / _FILE
    return json.loads(file.read_text()) if file.is_file() else []


def note(root: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Add entries that are not there yet."""
    known = read(root)
    known += [dict(entry) for entry in entries if entry not in known]
    write_text(root / _FILE, json.dumps(known, indent=2, sort_keys=True) + "\n")
