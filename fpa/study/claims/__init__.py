"""The paper's numeric sentences, decided by the data beside the figures and never typed in.

`CLAIMS` lists them by topic, one module each; `write(folder)` turns the CSVs under `figures/<profile>/` into its
`claims.csv` with the columns `id, source, statement, paper, ours, holds`. A claim about something that has not been
computed yet is absent there and named by `undecided(folder)`; one that fails stays, with its number.
"""

from pathlib import Path

import pandas as pd

from fpa.study.claims import (
    composites,
    in_time,
    intermittent,
    learning,
    metrics,
    recurrent,
    sizes,
    unnormalized,
    variants,
)
from fpa.study.claims.base import Claim as Claim
from fpa.study.claims.base import Evidence as Evidence
from fpa.study.claims.base import Missing, evidence
from fpa.study.writing import write_text

CLAIMS: tuple[Claim, ...] = (
    *sizes.CLAIMS,
    *recurrent.CLAIMS,
    *intermittent.CLAIMS,
    *variants.CLAIMS,
    *learning.CLAIMS,
    *unnormalized.CLAIMS,
    *composites.CLAIMS,
    *metrics.CLAIMS,
    *in_time.CLAIMS,
)
COLUMNS = ["id", "source", "statement", "paper", "ours", "holds"]


def scorecard(folder: Path) -> pd.DataFrame:
    """One row for every claim that the CSVs under `folder` decide."""
    known = evidence(folder)
    rows = [row for claim in CLAIMS if (row := _row(claim, known)) is not None]
    return pd.DataFrame(rows, columns=COLUMNS)


def undecided(folder: Path) -> list[str]:
    """The ids of the claims that the CSVs under `folder` do not decide yet."""
    decided = set(scorecard(folder)["id"])
    return [claim.id for claim in CLAIMS if claim.id not in decided]


def render(folder: Path) -> str:
    """The text that `claims.csv` has to have."""
    return scorecard(folder).to_csv(index=False, lineterminator="\n")


def write(folder: Path) -> None:
    """Write `claims.csv` from the CSVs under `folder`."""
    write_text(folder / "claims.csv", render(folder))


def _row(claim: Claim, known: Evidence) -> list[str] | None:
    try:
        return [claim.id, claim.source, claim.statement, claim.paper, *claim.decide(known)]
    except Missing:
        return None
