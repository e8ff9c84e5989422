"""Real data for composite programs: from OpenML where the machine is online, else what scikit-learn brings along."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits, load_sample_images
from sklearn.decomposition import MiniBatchDictionaryLearning

import fpa

_BINARY = {"Ionosphere": ("ionosphere", "g"), "Spambase": ("spambase", "1")}
_POSITIVE_OF_STAND_IN = 1


@dataclass(frozen=True)
class Data:
    """A data set as a distribution with one instance, and what it is, for captions."""

    title: str
    distribution: fpa.LabelledData


def binary(name: str, weight: float, online: bool) -> Data:
    """Ionosphere or Spambase with standardised columns; offline the breast cancer data of scikit-learn in its place."""
    found = _fetched(_BINARY[name][0]) if online else None
    if found is None:
        features, target = load_breast_cancer(return_X_y=True)
        return _labelled("breast cancer (offline stand-in)", features, target == _POSITIVE_OF_STAND_IN, weight)
    return _labelled(name, found.data, found.target == _BINARY[name][1], weight)


def many_classes(weight: float, online: bool, per_class: int = 500) -> Data:
    """CIFAR-10 images, `per_class` of each class; offline the 1,797 digits of scikit-learn. Rows have length 1."""
    found = _fetched("CIFAR_10_small") if online else None
    if found is None:
        title, (features, target) = "digits (offline stand-in)", load_digits(return_X_y=True)
    else:
        title, features, target = "CIFAR-10", found.data, found.target
    target = np.unique(target, return_inverse=True)[1]
    rows = np.concatenate([np.flatnonzero(target == k)[:per_class] for k in range(target.max() + 1)])
    features = np.asarray(features, float)[rows]
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    one_hot = np.eye(target.max() + 1)[target[rows]]
    return Data(title, fpa.LabelledData(jnp.asarray(features), jnp.asarray(one_hot), weight))


def patches(count: int, atoms: int, weight: float, size: int = 8, seed: int = 0) -> fpa.ImagePatches:
    """Random grey patches of scikit-learn's two photographs, and a dictionary of `atoms` that was fitted to them.

    A patch is divided by its range and has mean 0, as in the paper, which took the photographs of BSDS500.
    """
    rng = np.random.default_rng(seed)
    images = [np.asarray(image, float).mean(axis=2) for image in load_sample_images().images]
    chosen = [_patch(images[k % len(images)], size, rng) for k in range(count)]
    signals = np.stack([patch for patch in chosen if np.abs(patch).max() > 0])
    learner = MiniBatchDictionaryLearning(atoms, alpha=0.1, max_iter=20, fit_algorithm="cd", random_state=seed)
    dictionary = learner.fit(signals).components_
    dictionary = dictionary / np.maximum(np.linalg.norm(dictionary, axis=1, keepdims=True), 1e-12)
    return fpa.ImagePatches(jnp.asarray(dictionary.T), jnp.asarray(signals), weight)


def _patch(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    row, column = (rng.integers(length - size + 1) for length in image.shape)
    patch = image[row : row + size, column : column + size].ravel()
    patch = (patch - patch.min()) / (patch.max() - patch.min() + 1e-3)
    return patch - patch.mean()


def _labelled(title: str, features: Any, positive: np.ndarray, weight: float) -> Data:
    features = np.asarray(features, float)
    spread = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return Data(title, fpa.LabelledData(jnp.asarray(standard), jnp.asarray(positive.astype(float)), weight))


def _fetched(name: str) -> Any:
    """The data set of OpenML, or None where the machine is not online or OpenML refuses (a ValueError)."""
    try:
        return fetch_openml(name, version=1, as_frame=False, n_retries=1, delay=0.1)
    except (OSError, ValueError) as error:
        print(f"{name} could not be fetched ({error}); a data set that scikit-learn brings takes its place.")
        return None
