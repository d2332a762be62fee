"""Command line: run or resume a phase-field simulation, plot it, export it."""

import argparse
import logging
import sys
import time as clock
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from idnn.runtime import keep_freed_memory
from phasefield.observe import Observation
from phasefield.outputs import export_run, plot_run
from phasefield.progress import RemainingTime
from phasefield.runs import SUMMARY, execute
from phasefield.settings import read_settings
from phasefield.team import ALONE, Team, join

DESCRIPTION = """\
Run or resume a periodic phase-field simulation:

  python -m phasefield RUN.toml [--output DIR] [--model PATH] [--quiet]

The same command continues a run that was stopped at any moment, with the same result. The run
directory then holds fields.zarr (frames and history), checkpoint.safetensors, settings.json,
summary.json, microstructure.png, history.png, structure.png and animation.gif.

On several processes, each with a slab of the fields along x and one GPU if there are as many:

  torchrun --nproc-per-node N -m phasefield RUN.toml

They give the same result to rounding, and any number of them continues a run.

Other commands:

  python -m phasefield plot RUN_DIR [--mp4]    draw figures and animation again, and a video
  python -m phasefield export RUN_DIR          write VTK files for ParaView

Bad input ends with one message on stderr and exit status 2; so does a run that cannot go on.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if options.debug:
        logging.getLogger("phasefield").setLevel(logging.DEBUG)
    keep_freed_memory()
    team = ALONE
    try:
        team = join()
        options.act(options, team)
        team.leave()
    except (ValueError, OSError, RuntimeError) as error:
        if options.debug:
            raise
        if team.speaks():
            print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if team.speaks():
            print("stopped; the same command continues the run.", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    actions = {"plot": _plot_parser, "export": _export_parser}
    name = arguments[0] if arguments else ""
    if name in actions:
        return actions[name]().parse_args(arguments[1:])
    return _run_parser().parse_args(arguments)


def _run_parser() -> argparse.ArgumentParser:
    parser = _parser("", DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN.toml", help="settings of the run")
    parser.add_argument("--output", type=Path, metavar="DIR", help="run directory, not the TOML's")
    parser.add_argument("--model", type=Path, metavar="PATH", help="learned energy, not the TOML's")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no closing lines")
    parser.set_defaults(act=_run)
    return parser


def _plot_parser() -> argparse.ArgumentParser:
    parser = _parser(" plot", "Draw the figures and the animation of a run.")
    parser.add_argument("directory", type=Path, metavar="RUN_DIR", help="run directory")
    parser.add_argument(
        "--mp4",
        action="store_true",
        help="write animation.mp4 too (pip install 'scalebridge[video]')",
    )
    parser.set_defaults(act=_plot)
    return parser


def _export_parser() -> argparse.ArgumentParser:
    parser = _parser(" export", "Write every frame of a run as VTK image data (.vti, .pvd).")
    parser.add_argument("directory", type=Path, metavar="RUN_DIR", help="run directory")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to (default: RUN_DIR/vtk)"
    )
    parser.set_defaults(act=_export)
    return parser


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m phasefield{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks and every refusal")
    return parser


def _run(options: argparse.Namespace, team: Team) -> None:
    settings = read_settings(options.run, output=options.output, model=options.model)
    with ExitStack() as stack:
        silent = options.quiet or team.rank != 0
        observers = [] if silent else [_bar(stack, settings.time.end)]
        summary = execute(settings, observers, team)
    if team.rank != 0:
        return
    paths = plot_run(settings.output)
    if not options.quiet:
        print(
            f"t = {summary['time']:g} after {summary['steps']} steps in {summary['wall_s']:.0f} s; "
            f"F from {summary['free_energy_start']:.6g} to {summary['free_energy_end']:.6g} "
            f"{summary['free_energy_unit']}; ordered {summary['fraction_ordered']:.1%}."
        )
        for path in (settings.output / SUMMARY, *paths):
            print(path)


def _bar(stack: ExitStack, end: float) -> Callable[[Observation], None]:
    """A progress bar of t, which appears with the first accepted step."""
    bars: list[tqdm] = []
    remaining, layout = RemainingTime(end), "{desc} {percentage:3.0f}%|{bar}| {elapsed}{postfix}"

    def show(now: Observation) -> None:
        if not bars:
            bars.append(stack.enter_context(tqdm(total=end, bar_format=layout)))
        (bar,) = bars
        left = remaining.after(now.time, clock.monotonic())
        bar.set_description_str(f"t = {now.time:.4g}", refresh=False)
        bar.set_postfix_str(
            f"ETA {'?' if left is None else tqdm.format_interval(left)}, "
            f"F {now.free_energy:.6g}, step {now.dt:.2g}",
            refresh=False,
        )
        bar.update(now.time - bar.n)

    return show


def _plot(options: argparse.Namespace, team: Team) -> None:
    _require_alone(team)
    for path in plot_run(options.directory, video=options.mp4):
        print(path)


def _export(options: argparse.Namespace, team: Team) -> None:
    _require_alone(team)
    print(export_run(options.directory, options.output or options.directory / "vtk"))


def _require_alone(team: Team) -> None:
    if team.size > 1:
        raise ValueError(f"This command is for one process, not {team.size}; leave out torchrun.")


if __name__ == "__main__":
    sys.exit(main())
