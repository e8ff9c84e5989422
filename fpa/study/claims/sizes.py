"""Tables 1 and 2: the sizes of the problems in standard form."""

from fpa.study.claims.base import Claim, Evidence, Verdict, verdict


def _every_cell(table: str, evidence: Evidence) -> Verdict:
    """Every cell of our table equals the paper's."""
    cells = evidence.table(table)
    equal = int((cells["ours"] == cells["paper"]).sum())
    return verdict(f"{equal} of {len(cells)} cells equal", 0 < len(cells) == equal)


CLAIMS = (
    Claim(
        "T1",
        "Table 1",
        "Sizes and cones of Lasso and Kalman filtering in standard form",
        "every cell",
        lambda evidence: _every_cell("problem_sizes_1", evidence),
    ),
    Claim(
        "T2",
        "Table 2",
        "Sizes and cones of the Lasso variants in standard form",
        "every cell",
        lambda evidence: _every_cell("problem_sizes_2", evidence),
    ),
)
