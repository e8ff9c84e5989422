"""How hard XLA tries, and with how many threads. Smoke runs and tests compile much and run little."""

import gc
import os

import jax
from jaxlib import version

from fpa.study.profiles import num_threads

_QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
_KNOWN = (0, 10)
_ALLOCATIONS = (50_000, 20, 50)


def compile_quickly(quickly: bool = True) -> None:
    """Have XLA optimise little, and compile in less than half the time. Call it before the first computation.

    Quickly or not, garbage is collected less often, because tracing makes many objects and little garbage. XLA ends
    the process at a flag that it does not know, so flags are set for the version that is known to have them.
    """
    jax.config.update("jax_disable_most_optimizations", quickly)
    gc.set_threshold(*_ALLOCATIONS)
    if quickly and version.__version_info__[:2] == _KNOWN:
        flags = os.environ.get("XLA_FLAGS", "").split()
        os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*flags, *_QUICK]))


def use_threads(number: int | None) -> int:
    """Have XLA compute with so many threads, by default one for each processor, and return how many those are.

    Call it before the first computation. A number in the environment, in XLA's PJRT_NPROC, stands.
    """
    if number is not None:
        os.environ.setdefault("PJRT_NPROC", str(number))
    return int(os.environ.get("PJRT_NPROC", num_threads()))
