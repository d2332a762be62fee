"""Command line: run a campaign, or report on one."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from idnn.files import CannotWrite, DirectoryInUse
from idnn.runtime import keep_freed_memory
from idnn.train import NotTrained
from sampling.campaign import NothingSampled, run_campaign
from sampling.cluster import ClusterFailed
from sampling.energetics import SUMMARY
from sampling.report import Unfinished, figures_of_merit, gather, write_report
from sampling.settings import read_settings
from sampling.workers import WorkerDied

EXPECTED = (
    *(ValueError, OSError, CannotWrite, DirectoryInUse),
    *(NothingSampled, NotTrained, Unfinished, WorkerDied, ClusterFailed),
)
"""Errors the user can mend: one message, exit code 2."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _report_parser().parse_args(words[1:]) if words[:1] == ["report"] else None
    options = options or _run_parser().parse_args(words)
    keep_freed_memory()
    try:
        options.command(options)
    except EXPECTED as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sampling",
        description="Learn a free energy: fit a cluster expansion to energies, sample it by biased "
        "Monte Carlo, train an integrable network, choose the next points, until the tie-line is "
        "known. A stopped campaign is continued by the same command.",
        epilog="python -m sampling report DIRECTORY [--json] writes the report of a campaign; "
        "see python -m sampling report --help.",
    )
    parser.add_argument("campaign", type=Path, metavar="CAMPAIGN.toml", help="the settings")
    parser.add_argument(
        "--directory", type=Path, help="where results go; replaces `directory` of the settings"
    )
    parser.add_argument(
        "--workers", type=int, help="processes; replaces `workers`; results do not depend on it"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    _add_debug(parser)
    parser.set_defaults(command=_run)
    return parser


def _report_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sampling report",
        description="Write DIRECTORY/report.html, a page that needs no network. A phase-field run "
        "in DIRECTORY/microstructure is included.",
    )
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="of a finished campaign")
    parser.add_argument(
        "--json", action="store_true", help="print the figures as JSON instead of writing the page"
    )
    _add_debug(parser)
    parser.set_defaults(command=_report)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show tracebacks")


def _run(options: argparse.Namespace) -> None:
    settings = read_settings(options.campaign, directory=options.directory, workers=options.workers)
    print(f"{settings.title}: results in {settings.directory}")
    with ExitStack() as stack:
        observe = None if options.quiet else _bars(stack)
        campaign = run_campaign(settings, observe)
    energetics = json.loads((settings.directory / SUMMARY).read_text())
    last = campaign.rounds[-1]
    print(f"energies: {energetics['method']}, {energetics['n_structures']} structures")
    print(
        f"cluster expansion: leave-one-out {1e3 * energetics['rmse_full']:.1f} meV/atom, "
        f"{1e3 * energetics['rmse_focus']:.1f} for x <= {energetics['x_focus']:g}; "
        f"{energetics['gamma_prime']} {'on' if energetics['l12_on_hull'] else 'NOT on'} the hull"
    )
    print(f"{last.n_points} points in {len(campaign.rounds)} rounds; stopped by {campaign.outcome}")
    if last.x:
        ends = ", ".join(
            f"{phase} at x = {x:.4f} ± {sigma:.4f}"
            for phase, x, sigma in zip(last.phases, last.x, last.sigma_x, strict=True)
        )
        print(f"tie-line at {settings.ensemble.temperature:g} K: {ends}")
    else:
        print("no tie-line found in the range of composition: widen it or sample more")
    print(f"model: {settings.directory / 'model.safetensors'}")


def _report(options: argparse.Namespace) -> None:
    if options.json:
        numbers = figures_of_merit(gather(options.directory))
        print(json.dumps(numbers, indent=2, ensure_ascii=False, allow_nan=False))
        return
    print(write_report(options.directory))


def _bars(stack: ExitStack) -> Callable[[str, int, int], None]:
    """One progress bar per stage."""
    bars: dict[str, tqdm] = {}

    def observe(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = stack.enter_context(tqdm(desc=stage, total=total, initial=done))
        bars[stage].update(done - bars[stage].n)

    return observe


if __name__ == "__main__":
    sys.exit(main())
