"""The three sizes at which the whole study can be run.

A profile is a name: what a run does at that size is written in `notebooks/runs.yaml`.
"""

import os
from dataclasses import dataclass

from fpa.study.errors import StudyError


@dataclass(frozen=True)
class Profile:
    """A size of the study: its name, what it is for, and how many runs are executed at once.

    If `once`, only the first run of each notebook is done, if no others are asked for, to see that it works; times do
    not count then.
    """

    name: str
    purpose: str
    jobs: int = 1
    once: bool = False


def num_threads() -> int:
    """The number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", "each notebook once, with its own default parameters", num_threads(), once=True),
        Profile("laptop", "2 cores, no accelerator; the profile whose results are committed", jobs=2),
        Profile("paper", "the paper's sizes and numbers of updates; wants a GPU"),
    )
}


def get(name: str) -> Profile:
    """The profile called `name`."""
    if name not in PROFILES:
        raise StudyError(f"There is no profile {name!r}; the profiles are {', '.join(PROFILES)}.")
    return PROFILES[name]
