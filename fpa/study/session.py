"""What a notebook starts with.

The cell tagged `parameters` holds literals, the values of the profile `smoke`; the next one begins the run:

    profile = "smoke"                  # "laptop" and "paper" for the sizes in runs.yaml
    run = "02_recurrent_lasso"
    problem = "lasso"
    num_instances = 32

    from fpa import study
    here = study.begin(run, profile, globals())

One rule decides a parameter's value: **a literal that you change stands; one that you leave follows `run` and
`profile`** to the value in `notebooks/runs.yaml`. So writing `profile = "laptop"` in the first cell is all it takes to
run the laptop's sizes, `run = "02_recurrent_kalman"` turns to the other problem, and `num_instances = 100` beside
them is respected. (The runner injects all values, which are those of `runs.yaml`; the rule then changes nothing.)
After `begin` the plain names `problem`, `num_instances`, ... hold the values in effect, which it also prints.

A run writes its products through `here`: `here.save(figure, frame)` and `here.table(name, frame)`; `here.found()` and
`here.model(run)` read what earlier runs have made. Products go to `figures/<profile>/`, or into the folder named by
`FPA_OUTPUT`, through which the runner keeps them aside until the notebook has ended well.
"""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, display
from matplotlib.figure import Figure

from fpa.study import plotting, profiles, quiet, runs
from fpa.study.compilation import compile_quickly, use_threads
from fpa.study.errors import StudyError
from fpa.study.files import data_of, find_product, find_root, model_of
from fpa.study.store import record
from fpa.study.writing import atomic

_WORTH_KEEPING = 0.1  # seconds of compiling
_PIXELS_PER_INCH = 100  # on the notebook's page
_PNG = {"format": "png", "metadata": {"Software": None}}
_PDF = {"format": "pdf", "metadata": {"Creator": None, "Producer": None, "CreationDate": None}}


@dataclass(frozen=True)
class Run:
    """A run under way: its parameters, and where its products go; `figures` are the runs whose data it loads."""

    name: str
    profile: str
    parameters: Mapping[str, Any]
    loads: tuple[str, ...]
    published: Path
    output: Path
    figures: tuple[str, ...] = ()

    def save(self, figure: Figure, *frames: pd.DataFrame, suffix: str = "") -> None:
        """Write and show the picture, `<run><suffix>.png` and `.pdf`, and write its data, `data/<run><suffix>.csv`."""
        frame = pd.concat(frames, ignore_index=True)
        plotting.check_schema(frame)
        self.picture(figure, suffix)
        _write_csv(frame, self.output / data_of(self.name, suffix))

    def picture(self, figure: Figure, suffix: str = "") -> None:
        """Write `<run><suffix>.png` and `.pdf` of a figure whose data are a table, and show the former."""
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine(None)  # arranged once, for both files
        for options in (_PNG, _PDF):
            with atomic(self.output / f"{self.name}{suffix}.{options['format']}") as temporary:
                figure.savefig(temporary, **options)
        plt.close(figure)  # or the notebook would draw it once more
        width = int(figure.get_figwidth() * _PIXELS_PER_INCH)
        display(Image(filename=str(self.output / f"{self.name}{suffix}.png"), width=width))

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Write `tables/<name>.csv`."""
        _write_csv(frame, self.output / "tables" / f"{name}.csv")

    def found(self) -> dict[str, pd.DataFrame]:
        """The data of the figures it loads: those of this profile, or else the committed ones (laptop)."""
        return {run: pd.read_csv(self._loaded(run, data_of(run), "data")) for run in self.figures}

    def model(self, run: str, part: str = "") -> Path:
        """The trained models of an earlier run: those of this profile, or else the committed ones (laptop)."""
        return self._loaded(run, model_of(run, part), "models")

    def _loaded(self, run: str, product: str, what: str) -> Path:
        if product not in self.loads:
            raise StudyError(
                f"The run {self.name} reads the {what} of {run}, {product}, which is not among its loads in runs.yaml."
            )
        path = find_product(self.published, product)
        if not path.is_file():
            raise StudyError(f"The run {self.name} loads {path}, which the run {run} has not made yet.")
        return path


def begin(run: str, profile: str = "smoke", namespace: MutableMapping[str, Any] | None = None) -> Run:
    """Begin a run: double precision, the study's look, and the parameters in effect, set in `namespace` too."""
    quiet.take_part()
    root = find_root()
    specs = runs.load(root)
    (spec,) = (spec for spec in runs.select(specs, [run]) if spec.name == run)
    published = root / "figures" / profiles.get(profile).name
    jax.config.update("jax_enable_x64", True)
    compile_quickly(optimize=profile != "smoke")
    jax.config.update("jax_compilation_cache_dir", str(root / ".store" / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)
    jax.config.update("jax_traceback_in_locations_limit", 0)  # XLA need not know which line a number comes from
    plotting.style(quick=profile == "smoke")
    parameters = _in_effect(spec, profile, specs, namespace)
    print(f"{run}, profile {profile}: {', '.join(f'{name} = {value!r}' for name, value in parameters.items())}")
    threads = use_threads(spec.threads)
    device = jax.devices()[0].device_kind
    record({"device": device, "threads": threads}, f"on {device}")
    output = Path(os.environ.get("FPA_OUTPUT", published))
    figures = tuple(name for name in spec.sources if data_of(name) in spec.loads)
    return Run(run, profile, parameters, spec.loads, published, output, figures)


def _in_effect(
    spec: runs.Spec, profile: str, specs: Mapping[str, runs.Spec], namespace: MutableMapping[str, Any] | None
) -> dict[str, Any]:
    """The parameters by the rule in this module's docstring."""
    values = spec.values(profile)
    namespace = dict(values) if namespace is None else namespace
    defaults = next(other for other in specs.values() if other.notebook == spec.notebook).values("smoke")
    absent = [name for name in values if name not in namespace]
    if absent:
        raise StudyError(f"The run {spec.name} sets {', '.join(absent)}, which {spec.notebook} does not define.")
    untouched = {name for name in values if namespace[name] == defaults.get(name)}
    parameters = {name: value if name in untouched else namespace[name] for name, value in values.items()}
    namespace.update(parameters)
    return parameters


def _write_csv(frame: pd.DataFrame, path: Path) -> None:
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", float_format="%.8g")
