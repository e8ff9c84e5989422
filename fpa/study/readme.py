"""The tables in the README, written from the committed CSVs between `<!-- name -->` and `<!-- /name -->`."""

import re
from pathlib import Path

import pandas as pd

from fpa.study import verdict
from fpa.study.errors import StudyError
from fpa.study.writing import write_text

PROFILE = "laptop"
_BENCH = {
    "family": "family",
    "task": "task",
    "method": "method",
    "seconds_median": "seconds",
    "times_reference": "ratio",
    "worst_residual_median": "worst residual, median",
    "worst_residual_max": "maximum",
}


def update(root: Path) -> None:
    """Rewrite the README's tables, where there is a README; what has no data yet stays as it is."""
    if (root / "README.md").is_file():
        write_text(root / "README.md", rendered(root))


def rendered(root: Path) -> str:
    """The README as it has to be."""
    folder = root / "figures" / PROFILE
    text = (root / "README.md").read_text()
    for name, (needed, render) in _BLOCKS.items():
        if all((folder / file).is_file() for file in needed):
            text = _replace(text, name, render(folder))
    return text


def _replace(text: str, name: str, block: str) -> str:
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    if not pattern.search(text):
        raise StudyError(f"README.md has no place for the {name}: <!-- {name} --> ... <!-- /{name} -->.")
    return pattern.sub(lambda _: f"<!-- {name} -->\n{block}\n<!-- /{name} -->", text)


def _verdict(folder: Path) -> str:
    table = verdict.verdict(folder)
    for name, smallest in verdict.best(table).items():
        cells = [
            _cell(value) if known else "later" for value, known in zip(table[name], table[name].notna(), strict=True)
        ]
        table[name] = [f"**{cell}**" if least else cell for cell, least in zip(cells, smallest, strict=True)]
    return _markdown(table)


def _scorecard(folder: Path) -> str:
    claims = pd.read_csv(folder / "claims.csv")
    counts = ", ".join(f"{count} {holds}" for holds, count in claims["holds"].value_counts().items())
    return f"{len(claims)} claims: {counts}.\n\n{_markdown(claims.drop(columns='source'))}"


def _bench(folder: Path) -> str:
    table = pd.read_csv(folder / "bench.csv")
    first = table.iloc[0]
    counts = ", ".join(f"{count} {family}" for family, count in table.groupby("family")["instances"].first().items())
    head = (
        f"{counts} instances, {first['dtype']}, medians of {first['rounds']} rounds in which the methods take turns; "
        f"threads: {first['threads']}. The ratio is to the first method of each task. Residuals are the worst "
        "of primal, dual and gap of the returned points, by one certificate for all."
    )
    return f"{head}\n\n{_markdown(table[list(_BENCH)].rename(columns=_BENCH))}"


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * table.shape[1], *table.map(_cell).values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: object) -> str:
    text = "" if value != value else f"{value:.2g}" if type(value) is float else str(value)
    return text.replace("|", "\\|")


_BLOCKS = {
    "verdict": (verdict.NEEDED, _verdict),
    "scorecard": (("claims.csv",), _scorecard),
    "bench": (("bench.csv",), _bench),
}
