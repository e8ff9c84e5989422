"""Content-addressed results of expensive calls, under `.store/results/`.

`cached` returns what an earlier call left, if name, configuration, precision and code are the same, and else
computes and keeps it. Code means the syntax trees of the modules that compute it and of all they import from
`fpa` (`fpa.study.fingerprint`), so that prose, comments and plots recompute nothing. A result is written whole or
not at all. Every use prints one line, or, under the runner, is recorded for the manifest.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fpa.study import equivalence, fingerprint
from fpa.study.errors import StudyError
from fpa.study.files import find_root, sha256
from fpa.study.writing import atomic, write_text

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Format:
    """How a result becomes a file: its suffix, `save(value, path)` and `load(path)`."""

    suffix: str
    save: Callable[[Any, Path], object]
    load: Callable[[Path], Any]


JSON = Format(
    ".json",
    save=lambda value, path: write_text(path, json.dumps(value)),
    load=lambda path: json.loads(path.read_text()),
)


def cached(
    name: str,
    compute: Callable[[], Any],
    *,
    config: Mapping[str, Any],
    code: Iterable[str] = ("fpa",),
    format: Format = JSON,
) -> Any:
    """The result of `compute()`, from the store where it is there.

    `config` is everything that determines the result besides the code, as JSON-able values; `code` names the
    modules that compute it (all of `fpa` unless told). What is returned was read back from the file in either
    case, so that a hit and a miss cannot differ.
    """
    key = make_key(name, config, code)
    path = find_root() / ".store" / "results" / name / f"{key}{format.suffix}"
    hit = is_recent(path)
    record({"name": name, "key": key, "hit": hit}, f"store: {'hit' if hit else 'miss'} {name} {key[:12]}")
    if not hit:
        with atomic(path) as temporary:
            format.save(compute(), temporary)
    return format.load(path)


def make_key(name: str, config: Mapping[str, Any], code: Iterable[str] = ("fpa",)) -> str:
    """The sha256 that identifies a result by name, configuration, precision and code."""
    return make_keys(name, config, code)[0]


def make_keys(name: str, config: Mapping[str, Any], code: Iterable[str] = ("fpa",)) -> list[str]:
    """The result's key, then those it has had under older code that was shown to compute the same."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
        raise StudyError(f"The stored result's name {name!r} is not made of letters, digits, '_', '-', '.' and '/'.")
    identity = {
        "name": name,
        "config": {entry: _plain(name, entry, value) for entry, value in config.items()},
        "x64": bool(jax.config.read("jax_enable_x64")),
    }
    digest = fingerprint.digest(code)
    digests = [digest, *equivalence.older(find_root(), digest)]
    return [sha256(json.dumps({**identity, "code": digest}, sort_keys=True)) for digest in digests]


def identify(module: Any) -> str:
    """The sha256 of a module: its structure, and its numbers to single precision."""
    leaves, structure = jax.tree.flatten(module)
    arrays = [np.asarray(leaf) for leaf in leaves]
    small = [array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array for array in arrays]
    return sha256("\n".join([repr(module), repr(structure), *(sha256(array.tobytes()) for array in small)]))


def record(entry: Mapping[str, Any], line: str) -> None:
    """Tell the runner by its ledger, or, where there is no runner, the reader by a line."""
    output = os.environ.get("FPA_OUTPUT")
    if output is None:
        print(line)
    else:
        with Path(output, LEDGER).open("a") as ledger:
            ledger.write(json.dumps(entry) + "\n")


def is_recent(path: Path) -> bool:
    """Whether a kept result is there and may be used."""
    return path.is_file() and path.stat().st_mtime >= _oldest_allowed()


def keeps_old_results() -> bool:
    """Whether results may be used that were not made by this call: not under `run --fresh`."""
    return _oldest_allowed() == 0


def _plain(name: str, entry: str, value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except TypeError as error:
        raise StudyError(f"The configuration entry {entry!r} of stored result {name!r} is not JSON: {error}.") from None


def _oldest_allowed() -> float:
    """Results from before this time (seconds since the epoch) count as absent: the start of a `run --fresh`."""
    return float(os.environ.get("FPA_FRESH", 0))
