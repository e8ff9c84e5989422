"""Where a training run stands, as a file that is written whole or not at all."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Checkpoint:
    """A file that holds a run under way; without a path nothing is kept.

    `identity` tells one call of `fit` from another; a checkpoint of another call is refused. (What a function does, the
    optimizer among them, and first weights have no identity that lasts: a call that differs in these alone is taken for
    the same.) A checkpoint is a private file of this program on this machine, to be deleted at will.
    """

    def __init__(self, path: str | Path | None, identity: str):
        self.path = None if path is None else Path(path)
        self.identity = identity

    def save(self, run: Any) -> None:
        """Write the run, atomically."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(_parts(run), eqx.is_array))]
        with temporary.open("wb") as file:
            pickle.dump(
                {"identity": self.identity, "update": run.update, "arrays": arrays, "history": run.history}, file
            )
        os.replace(temporary, self.path)

    def load(self, run: Any) -> Any:
        """The run as it was saved, or `run` itself where nothing is there yet."""
        if self.path is None or not self.path.is_file():
            return run
        with self.path.open("rb") as file:
            saved = pickle.load(file)
        parts, others = eqx.partition(_parts(run), eqx.is_array)
        leaves, structure = jax.tree.flatten(parts)
        if saved["identity"] != self.identity or [a.shape for a in saved["arrays"]] != [a.shape for a in leaves]:
            raise ValueError(f"fit: the checkpoint {self.path} belongs to another training run; delete it.")
        arrays = [jax.numpy.asarray(array) for array in saved["arrays"]]
        run.trained, run.state, run.best, run.best_score = eqx.combine(jax.tree.unflatten(structure, arrays), others)
        run.update, run.history = saved["update"], saved["history"]
        return run


def identity(*parts: Any) -> str:
    """A digest of what tells one call from another: settings, numbers and arrays, and functions by their names."""
    sha = hashlib.sha256(eqx.tree_pformat(parts).encode())
    for leaf in jax.tree.leaves(parts):
        sha.update(_bytes(leaf))
    return sha.hexdigest()


def _bytes(leaf: Any) -> bytes:
    if eqx.is_array(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf).tobytes()
    return repr(leaf).encode() if isinstance(leaf, bool | int | float | str) else type(leaf).__name__.encode()


def _parts(run: Any) -> tuple:
    return run.trained, run.state, run.best, run.best_score
