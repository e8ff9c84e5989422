"""Solvers as files: one `.npz` with weights, configuration, a description of the family and the version of fpa.

A module is written as its class and its fields, arrays apart, so that nothing is executed when a file is read and
only modules of `fpa` and Equinox come out of it. `load` gives back a solver that produces the same bits.
"""

import dataclasses
import importlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fpa.distributions import AbstractDistribution
from fpa.solver import Solver

_FORMAT = 1
_TRUSTED = ("fpa", "equinox")


def save(
    path: str | Path,
    solver: Solver,
    distribution: AbstractDistribution | None = None,
    note: Any = None,
    trusted: Sequence[str] = (),
) -> None:
    """Write `solver` to `path`, with a description of the family it was trained for and a `note`, any JSON.

    Modules of your own packages may be in it if the packages are among `trusted`, here and in `load`.
    """
    arrays: list[np.ndarray] = []
    header = {
        "format": _FORMAT,
        "fpa": version("fpa"),
        "family": None if distribution is None else describe(distribution),
        "note": note,
        "solver": _encode(solver, arrays, (*_TRUSTED, *trusted)),
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, header=text, **{f"a{k}": a for k, a in enumerate(arrays)})


def load(path: str | Path, trusted: Sequence[str] = ()) -> Solver:
    """The solver that `save` wrote to `path`; raises ValueError where the file is not one of those.

    Nothing in the file is executed, but the modules that it names are imported, if they are of fpa, of Equinox, or of
    the packages in `trusted`.
    """
    header, arrays = _read(Path(path))
    return _decode(header["solver"], arrays, (*_TRUSTED, *trusted))


def read_header(path: str | Path) -> dict[str, Any]:
    """What a saved solver's file says of itself: `fpa`, the version that wrote it, `family` and `note`."""
    header, _ = _read(Path(path))
    return {name: header[name] for name in ("fpa", "family", "note")}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays in a saved solver's file, in the order of its fields."""
    return _read(Path(path))[1]


def describe(distribution: AbstractDistribution) -> dict[str, Any]:
    """The family in words and numbers: its class, its settings, the shapes of its parameters, n and m."""
    fields = {field.name: getattr(distribution, field.name) for field in dataclasses.fields(distribution)}
    parameters = eqx.filter_eval_shape(distribution.sample, jax.random.key(0))
    origin = eqx.filter_eval_shape(lambda parameters: distribution.program(parameters).origin, parameters)
    return {
        "class": type(distribution).__name__,
        "settings": {name: _setting(value) for name, value in fields.items() if _is_setting(value)},
        "parameters": {name: list(leaf.shape) for name, leaf in parameters.items()},
        "n": origin.x.shape[0],
        "m": origin.y.shape[0],
    }


def _is_setting(value: Any) -> bool:
    """Whether a field is a number or a word, rather than data."""
    return isinstance(value, int | float | str | bool) or (eqx.is_array(value) and value.ndim == 0)


def _setting(value: Any) -> Any:
    return value.item() if eqx.is_array(value) else value


def halved(module: Any) -> Any:
    """The module with its float32 arrays rounded to half precision, and kept in float32.

    Arrays of other types stay as they are, and so do those with entries too large for it, beyond 65,504.
    """

    def half(leaf):
        if not (eqx.is_array(leaf) and leaf.dtype == jnp.float32):
            return leaf
        values = np.asarray(leaf)
        fits = np.abs(values).max(initial=0) <= np.finfo(np.float16).max
        return jax.device_put(values.astype(np.float16).astype(np.float32)) if fits else leaf

    return jax.tree.map(half, module)


def _encode(node: Any, arrays: list[np.ndarray], trusted: tuple[str, ...]) -> Any:
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, eqx.Module):
        kind = type(node)
        package = kind.__module__.split(".")[0]
        if package not in trusted:
            name = f"{kind.__module__}.{kind.__qualname__}"
            raise ValueError(f"save: {name} is not of fpa, and could not be loaded; pass trusted=({package!r},).")
        fields = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
        encoded = {name: _encode(value, arrays, trusted) for name, value in fields.items()}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": encoded}
    if isinstance(node, tuple | list):
        return {type(node).__name__: [_encode(value, arrays, trusted) for value in node]}
    if isinstance(node, jax.Array | np.ndarray | np.generic):
        return _encode_array(np.asarray(node), arrays, isinstance(node, jax.Array))
    raise ValueError(f"save: cannot write a {type(node).__name__} to a file: {node!r}.")


def _encode_array(array: np.ndarray, arrays: list[np.ndarray], on_device: bool) -> dict[str, Any]:
    """Arrays that lose nothing in half precision are stored in it."""
    small = array.astype(np.float16) if array.dtype == np.float32 else array
    arrays.append(small if np.array_equal(small.astype(array.dtype), array) else array)
    return {"array": len(arrays) - 1, "dtype": array.dtype.name, "jax": on_device}


def _decode(node: Any, arrays: dict[str, np.ndarray], trusted: tuple[str, ...]) -> Any:
    if not isinstance(node, dict):
        return node
    if "array" in node:
        array = arrays[f"a{node['array']}"].astype(node["dtype"])
        return jax.device_put(array) if node["jax"] else array
    if "class" in node:
        return _module(
            node["class"], {n: _decode(value, arrays, trusted) for n, value in node["fields"].items()}, trusted
        )
    ((kind, values),) = node.items()
    return {"tuple": tuple, "list": list}[kind](_decode(value, arrays, trusted) for value in values)


def _module(name: str, values: dict[str, Any], trusted: tuple[str, ...]) -> eqx.Module:
    """The module with these fields; one that is younger than the file has its default."""
    kind = _class(name, trusted)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    lost = {n for n, default in defaults.items() if default is dataclasses.MISSING} - set(values)
    if culprits := sorted(lost | set(values) - set(defaults)):
        raise ValueError(f"load: the file is of another version of fpa, where {name} differs in {', '.join(culprits)}.")
    module = object.__new__(kind)
    for n, value in {**defaults, **values}.items():
        object.__setattr__(module, n, value)
    return module


def _class(name: str, trusted: tuple[str, ...]) -> type:
    module, _, qualified = name.partition(":")
    kind = getattr(importlib.import_module(module), qualified, None) if module.split(".")[0] in trusted else None
    if not (isinstance(kind, type) and issubclass(kind, eqx.Module)):
        raise ValueError(f"load: the file names the class {name!r}, which is no module of this version.")
    return kind


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"load: {path} is not a solver saved by fpa: {error}.") from None
    if header.get("format") != _FORMAT:
        raise ValueError(f"load: {path} has format {header.get('format')}; this version of fpa reads {_FORMAT}.")
    return header, arrays
