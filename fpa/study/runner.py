"""Running the study: notebooks to products, each run whole or not at all, and never twice for nothing.

A notebook writes into a staging folder, from which its products move to `figures/<profile>/` once it has ended well
and has made what `runs.yaml` says. After every run the manifest and the claims follow from what is there, so that an
interruption anywhere leaves a consistent state, from which the next call goes on.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from fpa.study import claims, manifest, quiet, runs
from fpa.study.errors import RunFailed
from fpa.study.execute import execute, stop_all
from fpa.study.plan import Plan
from fpa.study.runs import Spec
from fpa.study.state import Study, finished, make_key
from fpa.study.store import LEDGER
from fpa.study.writing import atomic, write_text

_PUBLISHING = Lock()


def run(study: Study, names: Sequence[str] = (), fresh: bool = False, jobs: int = 1) -> list[str]:
    """Bring the runs `names` up to date; returns those that failed.

    If none is named, the profile's default runs are meant. With `fresh` nothing counts as finished, and stored results
    from before this call count as absent. Up to `jobs` runs are executed at once; while one times something the others
    stand still (`fpa.study.quiet`), if times count in this profile.
    """
    selected = runs.select(study.specs, names or study.default_runs)
    for spec in selected:
        runs.check_parameters(spec, study.profile, study.root)
    environment = {"FPA_PROGRESS": _terminal(), "FPA_FRESH": str(time.time() if fresh else 0)}
    environment |= {quiet.QUIET: "1"} if study.times_count else {}
    plan = Plan(study, selected, early=not fresh)
    failed = set[str]()
    under_way: dict[Future[bool], Spec] = {}
    with _threads(jobs) as pool:
        while plan.todo or under_way:
            spec = plan.take(list(under_way.values())) if len(under_way) < jobs else None
            if spec is None:
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    spec = under_way.pop(future)
                    failed |= set() if future.result() or spec in plan.todo else {spec.name}
            elif fresh or not _up_to_date(study, spec):
                _say(spec, f"running{_time_left(study, [spec, *plan.todo], jobs)}")
                under_way[pool.submit(_attempt, study, spec, environment)] = spec
    return [spec.name for spec in selected if spec.name in failed]


@contextmanager
def _threads(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each look after one notebook; an interruption kills the notebooks."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except BaseException:
            stop_all()
            raise


def _up_to_date(study: Study, spec: Spec) -> bool:
    """Whether there is nothing to do for a run; then its record is published again, in case the manifest was lost."""
    entry = finished(study, spec)
    if entry is not None:
        publish(study, spec, entry)
        _say(spec, "up to date")
    return entry is not None


def publish(study: Study, spec: Spec, entry: Mapping[str, Any]) -> None:
    """Record a finished run, whose products are in place, and let manifest and claims follow."""
    with _PUBLISHING:
        _publish(study, spec, entry)


def _publish(study: Study, spec: Spec, entry: Mapping[str, Any]) -> None:
    before = manifest.read(study.folder)
    after = {name: kept for name, kept in before.items() if name in study.specs} | {spec.name: entry}
    write_text(study.record(spec), manifest.to_json(entry))
    manifest.write(study.folder, after)
    for product in _products(before) - _products(after):
        (study.folder / product).unlink(missing_ok=True)
    claims.write(study.folder)


def _attempt(study: Study, spec: Spec, environment: Mapping[str, str]) -> bool:
    """Do a run and publish it; whether that went well."""
    begun = {"key": make_key(study, spec), "started": _now(), **manifest.origin(study.root)}
    start = time.monotonic()
    try:
        with _staging(study) as staging:
            made = _execute(study, spec, environment, staging)
            for product in made["products"]:
                _copy(staging / "products" / product, study.folder / product)
    except RunFailed as error:
        _say(spec, f"failed: {error}")
        return False
    finally:
        quiet.resume(study.root)
    entry = {**begun, **made, "wall_s": round(time.monotonic() - start, 1)}
    publish(study, spec, entry)
    _say(spec, f"done in {entry['wall_s']} s")
    return True


def _execute(study: Study, spec: Spec, environment: Mapping[str, str], staging: Path) -> dict[str, Any]:
    """Execute a run's notebook in `staging`; returns what it did, for the manifest."""
    output = staging / "products"
    copy = staging / f"{spec.name}.ipynb"
    output.mkdir()
    parameters = study.parameters(spec)
    try:
        execute(study.notebook(spec), copy, parameters, {**environment, "FPA_OUTPUT": str(output)})
    except RunFailed as error:
        raise RunFailed(f"{error}{_keep(study, copy)}") from error
    ledger = _read_ledger(output / LEDGER)
    _check_made(spec, _files(output))
    _copy(copy, output / "executed" / copy.name)
    products = manifest.digests(output, _files(output))
    return {"notebook": spec.notebook, "parameters": parameters, "products": products, **_history(spec, ledger)}


def _history(spec: Spec, ledger: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a notebook recorded: its device, and the stored results it used, which are also told."""
    (session,) = [entry for entry in ledger if "device" in entry][-1:] or [{"device": None, "threads": None}]
    used = [entry for entry in ledger if "key" in entry]
    for entry in used:
        _say(spec, f"store: {'hit' if entry['hit'] else 'miss'} {entry['name']} {entry['key'][:12]}")
    return {**session, "store": used}


def _check_made(spec: Spec, made: Sequence[str]) -> None:
    absent = sorted(set(spec.makes) - set(made))
    surplus = sorted(set(made) - set(spec.makes))
    if absent:
        raise RunFailed(f"it did not make {', '.join(absent)}, which runs.yaml lists")
    if surplus:
        raise RunFailed(f"it made {', '.join(surplus)}, which runs.yaml does not list")


def _read_ledger(file: Path) -> list[dict[str, Any]]:
    """The entries of a run's ledger, which is then removed: it is no product."""
    lines = file.read_text().splitlines() if file.is_file() else []
    file.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


@contextmanager
def _staging(study: Study) -> Iterator[Path]:
    parent = study.root / ".store" / "staging"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(study: Study, copy: Path) -> str:
    """Keep the copy of a notebook that failed, if there is one, and say where."""
    kept = study.root / ".store" / "failed" / study.profile / copy.name
    if not copy.is_file():
        return ""
    _copy(copy, kept)
    return f" (see {kept.relative_to(study.root)})"


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _products(entries: Mapping[str, Any]) -> set[str]:
    return {product for entry in entries.values() for product in entry["products"]}


def _time_left(study: Study, remaining: Sequence[Spec], jobs: int) -> str:
    """How long the remaining runs took last time, where that is known, `jobs` at once."""
    entries = manifest.read(study.folder)
    known = [entries[spec.name]["wall_s"] for spec in remaining if spec.name in entries]
    return f", about {max(sum(known) / jobs, *known):.0f} s left" if known else ""


def _terminal() -> str:
    """The terminal this process reports to, or `off`."""
    return os.ttyname(sys.stderr.fileno()) if sys.stderr.isatty() else "off"


def _say(spec: Spec, line: str) -> None:
    print(f"{spec.name}: {line}", flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
