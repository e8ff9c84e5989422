"""Independent computations side by side: one is traced while XLA compiles or runs another."""

import os
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


def together(compute: Callable[[Item], Result], items: Iterable[Item]) -> dict[Item, Result]:
    """The result for each item, in their order; as many are under way at once as there are cores.

    The first error is raised, once those under way have ended; what has not begun by then is not begun.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {item: pool.submit(compute, item) for item in items}
        try:
            return {item: future.result() for item, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
