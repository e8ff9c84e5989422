"""The three sizes at which the whole study can be run.

A profile is a name: what a run does at that size is written in `notebooks/runs.yaml`.
"""

from dataclasses import dataclass

from fpa.study.errors import StudyError


@dataclass(frozen=True)
class Profile:
    """A size of the study: its name and what it is for."""

    name: str
    purpose: str


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", "each notebook in about 20 s on 2 cores; the notebooks' own default parameters"),
        Profile("laptop", "2 cores, no accelerator; the profile whose results are committed"),
        Profile("paper", "the paper's sizes and numbers of updates; wants a GPU"),
    )
}


def get(name: str) -> Profile:
    """The profile called `name`."""
    if name not in PROFILES:
        raise StudyError(f"There is no profile {name!r}; the profiles are {', '.join(PROFILES)}.")
    return PROFILES[name]
