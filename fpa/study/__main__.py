"""The command line of the study: `python -m fpa.study run | list | check | bench | carry`.

Exit status: 0 if all is well, 1 if a run failed or a check found something, 2 for bad input, 130 when interrupted.
"""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

from fpa.study import carry, check, claims, profiles, readme, runner, state
from fpa.study.errors import StudyError
from fpa.study.files import find_root


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; finished runs are kept, and the same command goes on from here.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    study = state.load(find_root(), options.profile)
    jobs = options.jobs or profiles.get(options.profile).jobs
    failed = runner.run(study, options.run, options.fresh, jobs)
    _summary(study, failed)
    readme.update(study.root)
    return 1 if failed else 0


def _summary(study: state.Study, failed: Sequence[str]) -> None:
    card = claims.scorecard(study.folder)
    counts = ", ".join(f"{count} {holds}" for holds, count in card["holds"].value_counts().items())
    print(f"claims: {counts or 'none decided'}; open: {', '.join(claims.undecided(study.folder)) or 'none'}")
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)


def _list(options: argparse.Namespace) -> int:
    study = state.load(find_root(), options.profile)
    for profile in profiles.PROFILES.values():
        print(f"{profile.name}: {profile.purpose}")
    for spec in study.specs.values():
        values = ", ".join(f"{name}={value}" for name, value in spec.values(study.profile).items())
        print(f"\n{spec.name} ({spec.notebook})\n  {study.profile}: {values}\n  makes {', '.join(spec.makes)}")
    return 0


def _check(options: argparse.Namespace) -> int:
    found = check.check(state.load(find_root(), options.profile))
    for name, problems in found.items():
        print(f"{name}: {'; '.join(problems) or 'ok'}")
    return 1 if any(found.values()) else 0


def _bench(options: argparse.Namespace) -> int:
    root = find_root()
    importlib.import_module("fpa.study.bench").main(root, options.profile)
    readme.update(root)
    return 0


def _carry(options: argparse.Namespace) -> int:
    differing = carry.carry(find_root(), options.revision, options.run)
    for name, models in differing.items():
        print(f"{name}: {'differs in ' + ', '.join(models) if models else 'the same models'}")
    return 1 if any(differing.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fpa.study", description="Reproduce the study.")
    commands = parser.add_subparsers(required=True, metavar="run | list | check | bench | carry")
    _command(commands, "run", _run, "execute the notebooks that are not up to date")
    _command(commands, "list", _list, "show the runs and their parameters")
    _command(commands, "check", _check, "say whether the products still belong to the code")
    _command(commands, "bench", _bench, "measure against the C solvers")
    _command(commands, "carry", _carry, "keep models, if code computes what it did at a commit")
    commands.choices["carry"].add_argument("revision", help="the commit whose models are to be kept")
    run = commands.choices["run"]
    for command in (run, commands.choices["carry"]):
        command.add_argument(
            "--run", nargs="+", action="extend", default=[], metavar="ID", help="only these, and what they need"
        )
    run.add_argument(
        "--jobs", type=_positive, help="how many runs at once; while one is timing, the others stand still"
    )
    run.add_argument("--fresh", action="store_true", help="redo finished runs and recompute stored results")
    return parser


def _positive(text: str) -> int:
    """An argument that is a positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _command(commands: argparse._SubParsersAction, name: str, command: object, text: str) -> None:
    parser = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
    parser.add_argument("--profile", default="laptop", help=f"one of {', '.join(profiles.PROFILES)} (laptop)")
    parser.set_defaults(command=command)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
