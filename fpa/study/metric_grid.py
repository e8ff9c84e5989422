"""Random quadratic programs of several sizes: does a learned metric gain more where there are more inequalities?"""

from pathlib import Path
from typing import Any

import fpa
from fpa.study import metrics
from fpa.study.metric_errors import Instances

_METHODS = {"DR": "identity", "DR tuned": "tuned", "DR oracle metric": "oracle"}


def cell(
    n: int, ratio: float, recipe: metrics.Recipe, seed: int, num_instances: int, tune_instances: int, checkpoint: Path
) -> dict[str, Any]:
    """One size: mean squared errors on test instances at the last iteration of training, method by method."""
    family = fpa.RandomQP(n, ratio, seed)
    best = metrics.tuned(family, recipe.steps, seed, tune_instances)
    ensemble, _ = metrics.train(family, recipe, seed, checkpoint)
    checkpoint.unlink(missing_ok=True)
    instances = Instances(family, seed, num_instances)
    solvers = metrics.baselines(family, best)
    errors = {
        word: float(instances.curves([solvers[name]], recipe.steps).mean("error")[-1])
        for name, word in _METHODS.items()
    }
    models = [fpa.member(ensemble, index) for index in range(recipe.seeds)]
    errors["learned"] = float(instances.curves(models, recipe.steps).mean("error")[-1])
    weights = instances.weights(models[0].splitting.metric)
    active = float((weights["multiplier"] > weights["slack"]).mean())
    return {"n": n, "ratio": ratio, "inequalities": weights["weight"].shape[1], "active": active, **errors}
