"""The list of runs, `notebooks/runs.yaml`: which notebook is run how, what it loads and what it makes.

    02_recurrent_lasso:
      notebook: 02_recurrent.ipynb
      loads: []                            # products of earlier runs that it reads, of which kept ones will do;
                                           # a run's name stands for all its data, models and tables
      makes: [02_recurrent_lasso.png, 02_recurrent_lasso.pdf, data/02_recurrent_lasso.csv]
      parameters:
        every: {problem: lasso, seed: 0}   # the same in every profile
        smoke: {num_instances: 32}
        laptop: {num_instances: 512}
        paper: {num_instances: 512}
      threads: 1                           # of XLA; may be left out, and is then the number of processors

A second thread makes the training of small networks slower: what it could take over is done before it has begun, and
it is in the way of the notebook beside. It may change last bits.

The parameters `run` and `profile` are the run's name and the profile's, and are not written here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fpa.study.errors import StudyError
from fpa.study.notebooks import literals
from fpa.study.profiles import PROFILES

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where it was built
_FIELDS = {"notebook", "loads", "makes", "parameters"}
_OPTIONAL = {"threads"}


@dataclass(frozen=True)
class Spec:
    """One run: a notebook, its parameters in every profile, what it loads and makes.

    `loads` are products, `sources` the runs that make them. `threads` are those of XLA; None stands for one for each
    processor.
    """

    name: str
    notebook: str
    loads: tuple[str, ...]
    sources: tuple[str, ...]
    makes: tuple[str, ...]
    parameters: Mapping[str, Mapping[str, Any]]
    threads: int | None = None

    def values(self, profile: str) -> dict[str, Any]:
        """The run's parameters in `profile`, without `run` and `profile`."""
        return {**self.parameters.get("every", {}), **self.parameters.get(profile, {})}


def names(root: Path) -> list[str]:
    """The names of all runs, whatever fields they have: it may be the list of older code."""
    return list(_entries(root))


def load(root: Path) -> dict[str, Spec]:
    """All runs, in the order of the file, which is an order in which they can be run."""
    specs: dict[str, Spec] = {}
    for name, fields in _entries(root).items():
        specs[name] = _spec(name, _mapping(fields, f"In runs.yaml, run {name}"), earlier=specs)
    return specs


def select(specs: dict[str, Spec], names: Iterable[str]) -> list[Spec]:
    """The runs called `names` (all, if none is given), in the order of the file."""
    wanted = set(names) or set(specs)
    _refuse(wanted - set(specs), f"There is no run {{}}; the runs are {', '.join(specs)}.")
    return [spec for name, spec in specs.items() if name in wanted]


def once(specs: dict[str, Spec]) -> list[str]:
    """The first run of each notebook."""
    first = {spec.notebook: name for name, spec in reversed(specs.items())}
    return [name for name in specs if name in first.values()]


def check_parameters(spec: Spec, profile: str, root: Path) -> None:
    """Refuse a run whose parameters are not those that its notebook defines, with values of the same kind."""
    given = {"run": spec.name, "profile": profile, **spec.values(profile)}
    defined = literals(root / "notebooks" / spec.notebook)
    where = f"run {spec.name} in profile {profile}"
    _refuse(set(given) - set(defined), f"The {where} sets {{}}, which {spec.notebook} does not define as a parameter.")
    _refuse(set(defined) - set(given), f"The {where} sets no value for {{}}, a parameter of {spec.notebook}.")
    for name, value in given.items():
        if not _same_kind(value, defined[name]):
            raise StudyError(f"The {where} sets {name} to {value!r}, but {spec.notebook} has {defined[name]!r} there.")


def _spec(name: str, fields: Mapping[str, Any], earlier: Mapping[str, Spec]) -> Spec:
    _refuse(_FIELDS - set(fields), f"In runs.yaml, run {name} lacks the field {{}}.")
    _refuse(set(fields) - _FIELDS - _OPTIONAL, f"In runs.yaml, run {name} has the unknown field {{}}.")
    parameters = _mapping(fields["parameters"], f"In runs.yaml, the field parameters of run {name}")
    parameters = {key: _mapping(value, f"In runs.yaml, {key} of run {name}") for key, value in parameters.items()}
    _refuse(set(parameters) - {"every", *PROFILES}, f"In runs.yaml, run {name} gives parameters for no profile: {{}}.")
    lists = {field: _list(name, field, fields[field]) for field in ("loads", "makes")}
    loads, sources = _loads(name, lists["loads"], earlier)
    threads = _threads(name, fields.get("threads"))
    return Spec(name, fields["notebook"], loads, sources, lists["makes"], parameters, threads)


def _loads(name: str, entries: Iterable[str], earlier: Mapping[str, Spec]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The products that a run loads, and the runs that make them."""
    makers = {product: spec.name for spec in earlier.values() for product in spec.makes}
    _refuse(
        set(entries) - set(earlier) - set(makers),
        f"In runs.yaml, run {name} loads {{}}, which is no earlier run nor made by one.",
    )
    several = {entry: _readable(earlier[entry].makes) if entry in earlier else (entry,) for entry in entries}
    loads = tuple(dict.fromkeys(product for products in several.values() for product in products))
    return loads, tuple(dict.fromkeys(makers.get(entry, entry) for entry in several))


def _readable(products: Iterable[str]) -> tuple[str, ...]:
    return tuple(product for product in products if product.startswith(("data/", "models/", "tables/")))


def _list(name: str, field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise StudyError(f"In runs.yaml, run {name} has {field}: {value!r} where a list was expected.")
    return tuple(value)


def _threads(name: str, number: Any) -> int | None:
    if number is not None and not (type(number) is int and number > 0):
        raise StudyError(f"In runs.yaml, run {name} has threads: {number!r} where a positive number was expected.")
    return number


def _entries(root: Path) -> Mapping[str, Any]:
    file = root / "notebooks" / "runs.yaml"
    if not file.is_file():
        raise StudyError(f"There is no {file}, the list of runs.")
    return _mapping(_parse(file), "The list of runs")


def _parse(file: Path) -> Any:
    try:
        return yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)
    except yaml.YAMLError as error:
        raise StudyError(f"{file} is not YAML: {' '.join(str(error).split())}.") from None


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise StudyError(f"{what} is {value!r} where names and values were expected.")
    return value


def _refuse(culprits: set[str], sentence: str) -> None:
    if culprits:
        raise StudyError(sentence.format(", ".join(sorted(map(repr, culprits)))))


def _same_kind(value: Any, default: Any) -> bool:
    return type(value) is type(default) or (type(value) is int and type(default) is float)
