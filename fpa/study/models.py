"""Trained models of the study: loaded where they are kept, trained where they are not.

A model is looked up under the key of `fpa.study.store` (configuration, precision, code), first in the store and then
among the committed ones, `figures/<profile>/models/`, whose files say which key they have. `run --fresh` ignores what
was kept before it. Either way the run publishes the model, so that it is one of its products.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fpa
from fpa.study import store
from fpa.study.files import atomic, find_root
from fpa.study.session import Run


def trained(
    here: Run,
    distribution: fpa.AbstractDistribution,
    train: Callable[[Path], tuple[fpa.Solver, dict[str, Any]]],
    config: Mapping[str, Any],
    code: str,
) -> tuple[list[fpa.Solver], dict[str, Any]]:
    """The models of an ensemble, and the record of their training.

    `train(checkpoint)` trains from nothing, or goes on from the checkpoint where it was interrupted; `config` is
    everything that determines the result besides the code, which is in the module `code`.
    """
    key = store.make_key(f"models/{here.name}", config, [code])
    kept = find_root() / ".store" / "results" / "models" / here.name / f"{key}.npz"
    committed = here.published / "models" / f"{here.name}.npz"
    source = kept if store.is_recent(kept) else committed if _holds(committed, key) else None
    hit = source is not None
    store.record({"name": f"models/{here.name}", "key": key, "hit": hit}, f"model: {'loaded' if hit else 'training'}")
    if source is None:
        source = kept
        checkpoint = kept.with_suffix(".checkpoint")
        ensemble, history = train(checkpoint)
        with atomic(kept) as temporary:
            fpa.save(temporary, ensemble, distribution, {"key": key, **history})
        for file in kept.parent.glob(f"{kept.stem}*.checkpoint"):
            file.unlink()
    target = here.output / "models" / f"{here.name}.npz"
    if source.resolve() != target.resolve():
        with atomic(target) as temporary:
            shutil.copyfile(source, temporary)
    ensemble, history = fpa.load(source), fpa.read_header(source)["note"]
    return [fpa.member(ensemble, index) for index in range(fpa.num_models(ensemble.accelerator))], history


def _holds(path: Path, key: str) -> bool:
    """Whether a committed model may be used and is the one with this key."""
    return store.keeps_old_results() and path.is_file() and fpa.read_header(path)["note"]["key"] == key
