"""Progress bars of long computations: in the notebook for a person, on the terminal for the runner.

`FPA_PROGRESS` says where bars go. Unset (an interactive notebook, a script), they go to standard error. The
study's runner sets it to the terminal it runs in, so that bars are seen live and the executed notebooks stay
free of them, or to `off` where there is no terminal.
"""

import functools
import os
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm


def progress(iterable: Iterable | None = None, total: int | None = None, desc: str | None = None) -> tqdm:
    """Wrap `iterable` in a bar with the time left; the bar's `set_postfix(loss=...)` shows numbers beside it."""
    channel = os.environ.get("FPA_PROGRESS")
    off = channel == "off"
    file = None if off or channel is None else _terminal(channel)
    return tqdm(iterable, total=total, desc=desc, file=file, disable=off, leave=False, mininterval=0.5)


@functools.cache
def _terminal(path: str) -> TextIO:
    return open(path, "w", buffering=1)
