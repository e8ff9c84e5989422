"""Results of training: loaded where they are kept, trained where they are not.

A result is looked up under the key of `fpa.study.store` (configuration, precision, code), first in the store and then
among the committed ones, `figures/<profile>/models/`, whose files say which key they have; it may be the key of older
code, for which today's stands (`fpa.study.equivalence`). `run --fresh` ignores what was kept before it. Either way the
run publishes the file, so that it is one of its products.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import fpa
from fpa.study import store
from fpa.study.files import find_root
from fpa.study.session import Run
from fpa.study.writing import atomic, write_text


def trained(
    here: Run,
    distribution: fpa.AbstractDistribution,
    train: Callable[[Path], tuple[fpa.Solver, dict[str, Any]]],
    config: Mapping[str, Any],
    code: str,
    part: str = "",
) -> tuple[list[fpa.Solver], dict[str, Any]]:
    """The models of an ensemble, and the record of their training.

    `train(checkpoint)` trains from nothing, or goes on from the checkpoint where it was interrupted; `config` is
    everything that determines the result besides the code, which is in the module `code`. A run that trains several
    ensembles tells them apart by `part`, a suffix of the file's name.
    """

    def make(path: Path, key: str, checkpoint: Path) -> None:
        begun = time.monotonic()
        ensemble, history = train(checkpoint)
        fpa.save(path, ensemble, distribution, {"key": key, "made_s": _since(begun), **history})

    path = _published(f"{part}.npz", here, config, [code], make, lambda path: fpa.read_header(path)["note"])
    return members(path), fpa.read_header(path)["note"]


def members(path: Path) -> list[fpa.Solver]:
    """The models of a saved ensemble."""
    ensemble = fpa.load(path)
    return [fpa.member(ensemble, index) for index in range(fpa.num_models(ensemble))]


def recorded(
    here: Run, compute: Callable[[], Any], config: Mapping[str, Any], code: Sequence[str], part: str = ""
) -> Any:
    """What training has shown, as JSON: the result of `compute()`, by the same rules; `code` lists its modules."""

    def make(path: Path, key: str, checkpoint: Path) -> None:
        begun = time.monotonic()
        result = compute()
        write_text(path, json.dumps({"key": key, "made_s": _since(begun), "result": result}))

    path = _published(f"{part}.json", here, config, code, make, lambda path: json.loads(path.read_text()))
    return json.loads(path.read_text())["result"]


def _published(
    ending: str,
    here: Run,
    config: Mapping[str, Any],
    code: Sequence[str],
    make: Callable[[Path, str, Path], None],
    note_of: Callable[[Path], Mapping[str, Any]],
) -> Path:
    """The run's published file, from the store, from the committed ones, or made; its name has that `ending`.

    The file notes its key and how many seconds it took to make, from the last start if that was interrupted.
    """
    file = Path(f"{here.name}{ending}")
    keys = store.make_keys(f"models/{file.stem}", config, code)
    key = keys[0]
    kept = find_root() / ".store" / "results" / "models" / file.stem / f"{key}{file.suffix}"
    committed = here.published / "models" / file
    held = store.keeps_old_results() and committed.is_file() and note_of(committed)["key"] in keys
    source = kept if store.is_recent(kept) else committed if held else None
    hit = source is not None
    if source is None:
        source = kept
        with atomic(kept) as temporary:
            make(temporary, key, kept.with_suffix(".checkpoint"))
        for leftover in kept.parent.glob(f"{kept.stem}*.checkpoint"):
            leftover.unlink()
    note = note_of(source)
    made_s = note.get("made_s")
    entry = {"name": f"models/{file.stem}", "key": note["key"], "hit": hit, "made_s": made_s, "code": [*code]}
    store.record(entry, f"{file.stem}: {'loaded' if hit else 'made'}; making it took {made_s} s")
    target = here.output / "models" / file
    if source.resolve() != target.resolve():
        with atomic(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 1)
