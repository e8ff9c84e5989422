"""Which runs have been done: keys, records of finished runs, and whether their products still stand.

A run's key covers its notebook, its parameters, the code it imports, the lock file, and the data and models it reads.
A finished run leaves the entry that also stands in the manifest, with that key and the digests of its products, in
`.store/runs/<profile>/<run>.json`; while both still hold, the run is up to date.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from fpa.study import fingerprint, manifest, notebooks, profiles, runs
from fpa.study.files import find_product, sha256

_PARSING = Lock()


@dataclass(frozen=True)
class Study:
    """The runs of a clone at one profile."""

    root: Path
    profile: str
    specs: dict[str, runs.Spec]

    @property
    def folder(self) -> Path:
        """Where products go."""
        return self.root / "figures" / self.profile

    @property
    def default_runs(self) -> list[str]:
        """The runs that are done when none is named."""
        return runs.once(self.specs) if profiles.get(self.profile).once else list(self.specs)

    @property
    def times_count(self) -> bool:
        """Whether it matters what is executed beside something that is timed."""
        return not profiles.get(self.profile).once

    def notebook(self, spec: runs.Spec) -> Path:
        """The notebook of a run."""
        return self.root / "notebooks" / spec.notebook

    def parameters(self, spec: runs.Spec) -> dict[str, Any]:
        """All parameters that a run's notebook is given."""
        return {"run": spec.name, "profile": self.profile, **spec.values(self.profile)}

    def record(self, spec: runs.Spec) -> Path:
        """Where a finished run is recorded."""
        return self.root / ".store" / "runs" / self.profile / f"{spec.name}.json"


def load(root: Path, profile: str) -> Study:
    """The study of the clone at `root` at a profile."""
    return Study(root, profiles.get(profile).name, runs.load(root))


def make_key(study: Study, spec: runs.Spec) -> str:
    """The sha256 of everything a run's products follow from.

    One thread at a time reads code: CPython 3.11 may fail where two of them parse at once.
    """
    notebook = study.notebook(spec)
    loaded = [find_product(study.folder, product) for product in spec.loads]
    with _PARSING:
        code = fingerprint.digest(notebooks.imported(notebook))
    identity = {
        "notebook": notebooks.cells(notebook),
        "parameters": study.parameters(spec),
        "makes": spec.makes,
        "code": code,
        "lock": manifest.digests(study.root, ["requirements.lock"]),
        "loaded": [sha256(path) for path in loaded if path.is_file()],
    }
    return sha256(json.dumps(identity, sort_keys=True))


def finished(study: Study, spec: runs.Spec) -> dict[str, Any] | None:
    """The entry of a run that is up to date; None if the run has to be done."""
    file = study.record(spec)
    entry = json.loads(file.read_text()) if file.is_file() else None
    return entry if entry and not differences(study, spec, entry) else None


def differences(study: Study, spec: runs.Spec, entry: Mapping[str, Any]) -> list[str]:
    """What no longer agrees with an entry of the manifest."""
    current = manifest.digests(study.folder, entry["products"])
    gone = [f"{product} is missing" for product in entry["products"] if product not in current]
    changed = [f"{product} has changed" for product in current if current[product] != entry["products"][product]]
    same = entry["key"] == make_key(study, spec)
    stale = [] if same else ["its code, notebook, parameters or data have changed since"]
    return [*gone, *changed, *stale]
