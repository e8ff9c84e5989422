"""Whether learning pays, in one table: residuals after as many iterations, and the time to an accuracy."""

from pathlib import Path

import pandas as pd

FAMILIES = {"Lasso": "23_in_time_lasso", "Kalman filtering": "23_in_time_kalman"}
NEEDED = tuple(f"tables/{run}.csv" for run in FAMILIES.values())


def verdict(folder: Path) -> pd.DataFrame:
    """A row per family and method, from the tables of `23_in_time` in `folder`, which holds a profile's products."""
    tables = [pd.read_csv(folder / file).assign(family=family) for family, file in zip(FAMILIES, NEEDED, strict=True)]
    table = pd.concat(tables, ignore_index=True)
    whole = {name: "Int64" for name in table if str(name).startswith("iterations")}
    return table[["family", *table.columns.drop("family")]].astype(whole)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Which numbers are the smallest of their family and column."""
    numbers = table.drop(columns=["family", "method"])
    return (numbers == numbers.groupby(table["family"]).transform("min")).fillna(False).astype(bool)
