"""Command line: describe porous crystals, learn their labels, predict those of others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from idnn.adsorption import options
from idnn.adsorption.cif import Library, read_library
from idnn.adsorption.descriptions import describe_all
from idnn.adsorption.files import load_model, save_model
from idnn.adsorption.learning import learn
from idnn.adsorption.reports import errors, full_card, predictions_table
from idnn.adsorption.selection import fingerprint, matched, small, suited
from idnn.adsorption.tables import read_labels
from idnn.files import CannotWrite, DirectoryInUse, exclusive, write_atomically
from idnn.levenberg import NotTrained

EXPECTED = (ValueError, OSError, CannotWrite, DirectoryInUse, NotTrained)
"""Errors the user can mend: one message, exit status 2."""

Observer = Callable[[str, int, int], None]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = options.parser().parse_args(arguments)
    try:
        COMMANDS[given.command](given)
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    return 0


def _describe(given: argparse.Namespace) -> None:
    _require_folder(given.output)
    library = read_library(given.source)
    _report("refused", library.refused)
    _require_some(library.crystals, given.source)
    count = len(library.crystals)
    with _bars(given.quiet) as observe:
        refused = describe_all(
            library.crystals,
            given.output,
            probe_radius=given.probe,
            spacing=given.spacing,
            observe=lambda done: observe("crystals", done, count),
        )
    _report("refused", refused)
    _require_some(set(library.crystals) - set(refused), given.source)
    print(f"{count - len(refused)} structures described: {given.output}")


def _train(given: argparse.Namespace) -> None:
    settings = options.settings(given)
    _require_folder(given.model)
    table = read_labels(given.labels, targets=given.target, beside=given.beside, group=given.group)
    library = suited(read_library(given.source, table.names), settings.field)
    if given.most_atoms is not None:
        library = small(library, given.most_atoms)
    found = matched(table, library)
    _report("left out", found.left_out)
    directory = given.directory or given.model.with_suffix(".training")
    with exclusive(directory), _bars(given.quiet) as observe:
        part = directory / fingerprint(found.crystals, found.table, settings)
        part.mkdir(exist_ok=True)
        model = learn(
            found.crystals,
            found.table,
            settings,
            directory=part,
            device=given.device,
            observe=observe,
        )
    save_model(model, given.model)
    held = len(model.card["held_out"])
    print(f"learned from {model.card['learned']} crystals; errors on {held} that were held out:")
    print(errors(model))
    print(given.model)


def _predict(given: argparse.Namespace) -> None:
    model = load_model(given.model)
    _require_folder(given.output)
    library = suited(_together(given.source), model.field)
    _report("refused", library.refused)
    _require_some(library.crystals, *given.source)
    count = len(library.crystals)
    with _bars(given.quiet) as observe:
        found = model.predict(
            library.crystals, observe=lambda done: observe("crystals", done, count)
        )
    write_atomically(given.output, predictions_table(found))
    strange = sum(map(bool, found.unseen))
    if strange:
        print(f"{strange} hold elements that the model never saw: see the column `unseen`")
    print(f"{count} structures predicted: {given.output}")


def _card(given: argparse.Namespace) -> None:
    print(full_card(load_model(given.model)))


def _draw(given: argparse.Namespace) -> None:
    from idnn.adsorption.plotting import plot_contributions  # the others run without matplotlib

    model = load_model(given.model)
    _require_folder(given.output)
    targets = [*model.targets] if given.target is None else [given.target]
    if len(targets) > 1:
        raise ValueError(f"`--target` must be given, one of {', '.join(targets)}.")
    library = suited(read_library(given.source), model.field)
    _report("refused", library.refused)
    crystals = list(library.crystals.values())
    if len(crystals) != 1:
        raise ValueError(
            f"`source` must hold one structure that is fit; {given.source} has {len(crystals)}."
        )
    plot_contributions(crystals[0], model.contributions(crystals[0]), targets[0], given.output)
    print(given.output)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "describe": _describe,
    "train": _train,
    "predict": _predict,
    "card": _card,
    "draw": _draw,
}


def _together(sources: Collection[Path]) -> Library:
    """Of all sources; a name that two of them hold is refused."""
    crystals, refused = {}, {}
    for source in sources:
        library = read_library(source)
        known = crystals.keys() | refused.keys()
        twice = sorted(known & (library.crystals.keys() | library.refused.keys()))
        if twice:
            raise ValueError(
                f"`source` must hold each name once; {twice[0]} of {source} is in another one, "
                "too: predict them one after the other."
            )
        crystals |= library.crystals
        refused |= library.refused
    return Library(crystals, refused)


def _report(what: str, reasons: Mapping[str, str]) -> None:
    for message in reasons.values():
        print(f"{what}: {message}")


def _require_some(fit: Collection[str], *sources: Path) -> None:
    if not fit:
        raise ValueError(
            f"`source` must hold a structure that is fit; {', '.join(map(str, sources))} has none."
        )


def _require_folder(path: Path) -> None:
    """Before work is done, not after it."""
    if not path.parent.is_dir() or path.is_dir():
        raise ValueError(
            f"`{path}` must be a file in a folder that exists: make it, or choose one."
        )


@contextmanager
def _bars(quiet: bool) -> Iterator[Observer]:
    """A bar for each stage, one after the other."""
    bars: list[tqdm] = []

    def observe(stage: str, done: int, total: int) -> None:
        if quiet:
            return
        if not bars or bars[-1].desc.rstrip(": ") != stage:
            for bar in bars:
                bar.close()
            bars.append(tqdm(desc=stage, total=total))
        bars[-1].update(done - bars[-1].n)

    try:
        yield observe
    finally:
        for bar in bars:
            bar.close()


if __name__ == "__main__":
    sys.exit(main())
