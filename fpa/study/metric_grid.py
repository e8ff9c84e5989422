"""Random quadratic programs of several sizes: does a learned metric gain more where there are more inequalities?"""

from pathlib import Path
from typing import Any

import fpa
from fpa.study import metrics
from fpa.study.metric_errors import Instances
from fpa.study.schedules import ConstantRecipe

_METHODS = {"DR": "identity", "DR tuned": "tuned", "DR oracle metric": "oracle"}
_LEAST = 0.01  # a weight of x to train on from, where the best is 0


def cell(
    data: metrics.TrainingSet,
    recipe: metrics.Recipe,
    schedule: ConstantRecipe,
    num_instances: int,
    tune_instances: int,
    checkpoint: Path,
) -> dict[str, Any]:
    """One size: mean squared errors on test instances at the last iteration of training, method by method."""
    family, seed, steps = data.distribution, data.seed, recipe.steps
    best = metrics.tuned(family, steps, seed, tune_instances)
    parts = [checkpoint.with_suffix(f".{word}.checkpoint") for word in ("learned", "constant")]
    ensemble, _ = metrics.train(data, recipe, parts[0])
    one, _ = metrics.train_constant(data, best | {"x": max(best["x"], _LEAST)}, schedule, parts[1])
    for part in parts:
        part.unlink(missing_ok=True)
    models = [fpa.member(ensemble, index) for index in range(recipe.seeds)]
    several = {_METHODS[name]: [solver] for name, solver in metrics.baselines(family, best).items() if name in _METHODS}
    several |= {"constant": [fpa.member(one, 0)], "learned": models}
    instances = Instances(family, seed, num_instances)
    errors = {name: float(instances.curves(solvers, steps).mean("error")[-1]) for name, solvers in several.items()}
    weights = instances.weights(models[0].splitting.metric)
    active = float((weights["multiplier"] > weights["slack"]).mean())
    return {"inequalities": weights["weight"].shape[1], "active": active, **errors}
