"""Which library multiplies matrices for XLA."""

import os

from jaxlib import version

_EIGEN = "--xla_cpu_experimental_ynn_fusion_type="
_KNOWN = (0, 10)


def multiply_with_eigen() -> None:
    """Have XLA leave matrix products to Eigen. Call it before the first computation.

    YNNPACK, which this version takes by default, is slower where a wide network is trained on a small batch: an update
    by truncated windows of 32 instances takes 1.4 times as long with it. XLA ends the process at a flag that it does
    not know, so the flag is set for the version that is known to have it.
    """
    if version.__version_info__[:2] == _KNOWN:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_EIGEN}".strip()
