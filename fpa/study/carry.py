"""Whether today's code trains the models that older code trained, found out in miniature.

Every run that trains is done at the profile `smoke`, with the code of an older commit and with the code of today. Where
all models that some code trains are the same, bit by bit, `fpa.study.equivalence` learns that it stands for the older
one. What a miniature does not reach, such as the effect of many updates, is the same code on other numbers.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fpa.persistence import read_arrays
from fpa.study import equivalence, fingerprint, manifest, runs
from fpa.study.errors import StudyError


def carry(root: Path, revision: str, chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """Compare today's code with that of `revision`; returns, for each run that trains, which models differ.

    Only `chosen` runs are looked at, if any are named.
    """
    names = [spec.name for spec in runs.select(runs.load(root), chosen) if _models(spec.makes)]
    with _checkout(root, revision) as old:
        shared = [name for name in names if name in runs.names(old)]
        for tree in (old, root):
            _train(tree, shared)
        before, after = (manifest.read(_folder(tree)) for tree in (old, root))
        both = {name: _both(before[name]["products"], after[name]["products"]) for name in shared}
        differing = {name: _differing(old, root, both[name]) for name in shared}
        code = {tuple(use["code"]) for name in shared for use in after[name]["store"] if "code" in use}
        commit = before[shared[0]]["commit"]
        found = [_entry(modules, (old, root), after, both, differing, commit) for modules in sorted(code)]
    equivalence.note(root, [entry for entry in found if entry is not None])
    return differing


def same(one: Path, other: Path) -> bool:
    """Whether two files of models, or of what training has shown, hold the same, whenever and how fast it was made."""
    if one.suffix == ".json":
        return _result(one) == _result(other)
    arrays, others = read_arrays(one), read_arrays(other)
    return arrays.keys() == others.keys() and all(
        np.array_equal(arrays[name], others[name], equal_nan=True) for name in arrays
    )


def _entry(
    modules: tuple[str, ...],
    trees: tuple[Path, Path],
    after: Mapping[str, Any],
    both: Mapping[str, Sequence[str]],
    differing: Mapping[str, Sequence[str]],
    commit: str,
) -> dict[str, Any] | None:
    """That the code of `modules` computes what it did, unless it is the same, no run shows it, or one the contrary."""
    was, now = (fingerprint.digest(modules, tree / "fpa") for tree in trees)
    stems = {name: {Path(model).stem for model in models} for name, models in both.items()}
    uses = [(name, use) for name in both for use in after[name]["store"] if use.get("code") == [*modules]]
    shown_by = sorted({name for name, use in uses if Path(use["name"]).name in stems[name]}, key=list(both).index)
    if was == now or not shown_by or any(differing[name] for name in shown_by):
        return None
    return {"code": [*modules], "was": was, "is": now, "commit": commit, "shown_by": shown_by}


@contextmanager
def _checkout(root: Path, revision: str) -> Iterator[Path]:
    """A folder with the tree of `revision`, for as long as it is needed."""
    folder = root / "build" / "carried"
    shutil.rmtree(folder, ignore_errors=True)
    for command in (["clone", "--quiet", str(root), str(folder)], ["-C", str(folder), "checkout", "-q", revision]):
        done = subprocess.run(["git", *command], capture_output=True, text=True)
        if done.returncode:
            raise StudyError(f"git could not check out {revision!r}: {' '.join(done.stderr.split())}.")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _train(tree: Path, names: Sequence[str]) -> None:
    command = [sys.executable, "-m", "fpa.study", "run", "--profile", "smoke", "--fresh", "--run", *names]
    threads = {"OPENBLAS_NUM_THREADS": "1", "PJRT_NPROC": "1"}  # they decide last bits
    environment = {**threads, **os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment)
    if done.returncode:
        raise StudyError(f"The runs in {tree} did not all end well.")


def _both(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The models that both codes make; of one that only one of them makes nothing is known."""
    return [model for model in _models(before) if model in after]


def _differing(old: Path, new: Path, models: Sequence[str]) -> list[str]:
    files = [(_folder(old) / model, _folder(new) / model) for model in models]
    return [new.name for old, new in files if not same(old, new)]


def _result(file: Path) -> Any:
    return _untimed(json.loads(file.read_text())["result"])


def _untimed(value: Any) -> Any:
    """The value without entries called `seconds`."""
    if isinstance(value, dict):
        return {name: _untimed(entry) for name, entry in value.items() if name != "seconds"}
    return [_untimed(entry) for entry in value] if isinstance(value, list) else value


def _models(products: Sequence[str] | Mapping[str, str]) -> list[str]:
    return [product for product in products if product.startswith("models/")]


def _folder(tree: Path) -> Path:
    return tree / "figures" / "smoke"
