"""How hard XLA tries. Smoke runs and tests compile much and run little."""

import os

import jax
from jaxlib import version

_QUICK = "--xla_cpu_use_fusion_emitters=false"
_KNOWN = (0, 10)


def compile_quickly(quickly: bool = True) -> None:
    """Have XLA optimise little, and compile in less than half the time. Call it before the first computation.

    XLA ends the process at a flag that it does not know, so the flag is set for the version that is known to have it.
    """
    jax.config.update("jax_disable_most_optimizations", quickly)
    flags = os.environ.get("XLA_FLAGS", "").split()
    if quickly and version.__version_info__[:2] == _KNOWN and _QUICK not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, _QUICK])
