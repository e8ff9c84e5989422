"""Whether the products of a profile are still what the manifest says and belong to the code as it is now."""

from fpa.study import claims, manifest, runs
from fpa.study.errors import StudyError
from fpa.study.runs import Spec
from fpa.study.state import Study, differences


def check(study: Study) -> dict[str, list[str]]:
    """What is wrong with every run, and with `claims.csv`; nothing is wrong where the list is empty."""
    entries = manifest.read(study.folder)
    found = {name: _problems(study, spec, entries.get(name)) for name, spec in study.specs.items()}
    return {**found, "claims.csv": _claims(study)}


def _problems(study: Study, spec: Spec, entry: dict | None) -> list[str]:
    if entry is None:
        return ["not in the manifest"]
    try:
        runs.check_parameters(spec, study.profile, study.root)
        return differences(study, spec, entry)
    except StudyError as error:
        return [str(error)]


def _claims(study: Study) -> list[str]:
    file = study.folder / "claims.csv"
    follows = file.is_file() and file.read_text() == claims.render(study.folder)
    return [] if follows else ["it does not follow from the data"]
