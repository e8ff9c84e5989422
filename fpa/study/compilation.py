"""How XLA compiles, and with how many threads. Notebooks and tests compile much and run little."""

import gc
import os

import jax
from jaxlib import version

from fpa.study.profiles import num_threads

_GENERATOR = "xla_cpu_use_fusion_emitters"
_FLAGS = (
    f"--{_GENERATOR}=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_backend_optimization_level=1",
)
_KNOWN = (0, 10)
_ALLOCATIONS = (50_000, 20, 50)


def compile_quickly(optimize: bool = False) -> None:
    """Have XLA compile in half the time or less. Call it before the first computation.

    The older code generator compiles in half the time what is then hardly slower; for what is timed see `thorough`.
    Unless asked to `optimize`, XLA leaves out most other optimisations as well. Garbage is collected less often,
    because tracing makes many objects and little garbage. XLA ends the process at a flag that it does not know, so
    flags are set for the version that is known to have them.
    """
    jax.config.update("jax_disable_most_optimizations", not optimize)
    gc.set_threshold(*_ALLOCATIONS)
    if version.__version_info__[:2] == _KNOWN:
        flags = os.environ.get("XLA_FLAGS", "").split()
        os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*flags, *_FLAGS]))


def thorough() -> dict[str, bool]:
    """The `compiler_options` of `jax.jit` for what is timed: the newer code generator.

    Networks along a time axis run up to twice as fast by it. The other flags stay; one measurement of recurrent
    networks on coordinates took a quarter longer with them. No options where XLA was not asked to `optimize`.
    """
    known = version.__version_info__[:2] == _KNOWN
    return {_GENERATOR: True} if known and not jax.config.values["jax_disable_most_optimizations"] else {}


def use_threads(number: int | None) -> int:
    """Have XLA compute with so many threads, by default one for each processor, and return how many those are.

    Call it before the first computation. A number in the environment, in XLA's PJRT_NPROC, stands.
    """
    if number is not None:
        os.environ.setdefault("PJRT_NPROC", str(number))
    return int(os.environ.get("PJRT_NPROC", num_threads()))
