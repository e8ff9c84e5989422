"""What methods achieve on a family's test instances, traced once for all runs of the study that show it."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import fpa
from fpa.evaluation import CHUNK, METRICS, join
from fpa.study.errors import StudyError
from fpa.study.files import sha256
from fpa.study.store import Format, cached, identify


def curves(
    distribution: fpa.AbstractConeDistribution,
    methods: Mapping[str, Sequence[fpa.Solver]],
    seed: int,
    num_instances: int,
    num_steps: int,
    compiler_options: Mapping[str, bool | int] | None = None,
) -> dict[str, fpa.Curves]:
    """Curves of all models of each method on the test instances, from the store where another run has left them.

    `compiler_options` are those of `jax.jit`: `thorough` ones pay where a network is asked at every iteration.
    """
    trace = functools.partial(_curves, distribution, seed, num_instances, num_steps, compiler_options)
    return {name: join([trace(solver, name) for solver in solvers]) for name, solvers in methods.items()}


def worst(curves: fpa.Curves, iterations: Sequence[int]) -> dict[str, float]:
    """The mean over instances and models of the worst of primal residual, dual residual and gap, after iterations."""
    largest = np.maximum.reduce([curves.values[metric] for metric in ("primal", "dual", "gap")])
    mean = np.where(np.isnan(largest), np.inf, largest).mean(axis=(0, 1))
    return {f"at {k}": float(mean[k - 1]) for k in iterations}


def _curves(
    distribution: fpa.AbstractConeDistribution,
    seed: int,
    num_instances: int,
    num_steps: int,
    compiler_options: Mapping[str, bool | int] | None,
    solver: fpa.Solver,
    name: str,
) -> fpa.Curves:
    sizes = {"num_instances": num_instances, "num_steps": num_steps}
    config = {"seed": seed, **sizes, "compiler_options": dict(compiler_options or {})}
    how = {**sizes, "chunk": min(CHUNK, num_instances), "description": name, "compiler_options": compiler_options}
    config |= {"jax": jax.__version__, "equinox": eqx.__version__, "device": jax.devices()[0].device_kind}
    return cached(
        f"curves/{type(distribution).__name__}",
        functools.partial(fpa.evaluate, solver, distribution, fpa.role_key(seed, "test"), **how),
        config=config | {what: _identify(part) for what, part in (("family", distribution), ("solver", solver))},
        code=sorted({"fpa.evaluation"} | _modules(distribution) | _modules(solver)),
        format=_CURVES,
    )


def _identify(module: eqx.Module) -> list[str]:
    """What tells a module from others: its structure and all bits of its numbers."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(module)]
    return [identify(module), sha256(b"".join(leaf.tobytes() for leaf in leaves))]


def _modules(module: eqx.Module) -> set[str]:
    """The modules of `fpa` that define what a distribution or solver is made of; StudyError for any other."""
    found = set[str]()

    def note(node: Any) -> bool:
        if isinstance(node, eqx.Module):
            found.add(type(node).__module__)
        return False

    jax.tree.flatten(module, is_leaf=note)
    foreign = sorted(name for name in found if not name.startswith(("fpa.", "equinox.")))
    if foreign:
        raise StudyError(
            f"{type(module).__name__} is made of classes of {', '.join(foreign)}, "
            "whose changes the store would not see; use fpa.evaluate_models."
        )
    return {name for name in found if name.startswith("fpa.")}


def _save(curves: fpa.Curves, path: Path) -> None:
    np.savez(path, valid=curves.valid, values=np.stack([curves.values[metric] for metric in METRICS]))


def _load(path: Path) -> fpa.Curves:
    with np.load(path) as file:
        return fpa.Curves(dict(zip(METRICS, file["values"], strict=True)), file["valid"])


_CURVES = Format(".npz", _save, _load)
