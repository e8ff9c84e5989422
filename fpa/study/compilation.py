"""How XLA compiles, and with how many threads. Notebooks and tests compile much and run little."""

import gc
import os
from typing import Any

import jax
from jaxlib import version

from fpa.study.profiles import num_threads

_QUICK = {
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
    "xla_backend_optimization_level": 1,
}
_DEFAULT = {
    "xla_cpu_use_fusion_emitters": True,
    "xla_cpu_parallel_codegen_split_count": 32,
    "xla_backend_optimization_level": 3,
}
_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}
_KNOWN = (0, 10)
_ALLOCATIONS = (50_000, 20, 50)


def compile_quickly(optimize: bool = False) -> None:
    """Have XLA compile in half the time or less. Call it before the first computation.

    The older code generator compiles in half the time what is then hardly slower; for what is timed see `thorough`.
    Unless asked to `optimize`, XLA leaves out most other optimisations as well. Garbage is collected less often,
    because tracing makes many objects and little garbage.
    """
    jax.config.update("jax_disable_most_optimizations", not optimize)
    gc.set_threshold(*_ALLOCATIONS)
    _set_flags(_QUICK)


def multiply_with_eigen() -> None:
    """Have XLA leave matrix products to Eigen. Call it before the first computation.

    YNNPACK, which this version takes by default, is slower where a wide network is trained on a small batch: an update
    by truncated windows of 32 instances takes 1.4 times as long with it.
    """
    _set_flags(_EIGEN)


def thorough() -> dict[str, bool | int]:
    """The `compiler_options` of `jax.jit` for what is timed: XLA's defaults instead of `compile_quickly`'s choices.

    Networks along a time axis run up to twice as fast by them, recurrent ones on coordinates a quarter faster. No
    options where XLA was not asked to `optimize`.
    """
    return dict(_DEFAULT) if _is_known() and not jax.config.values["jax_disable_most_optimizations"] else {}


def _set_flags(flags: dict[str, Any]) -> None:
    """Set flags of XLA, which ends the process at one that it does not know: for the version known to have them."""
    if _is_known():
        present = os.environ.get("XLA_FLAGS", "").split()
        added = [f"--{name}={str(value).lower()}" for name, value in flags.items()]
        os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*present, *added]))


def _is_known() -> bool:
    return version.__version_info__[:2] == _KNOWN


def use_threads(number: int | None) -> int:
    """Have XLA compute with so many threads, by default one for each processor, and return how many those are.

    Call it before the first computation. A number in the environment, in XLA's PJRT_NPROC, stands.
    """
    if number is not None:
        os.environ.setdefault("PJRT_NPROC", str(number))
    return int(os.environ.get("PJRT_NPROC", num_threads()))
