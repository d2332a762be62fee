"""Symmetry of crystals: atoms that are alike, and the smallest cell, by spglib."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from jaxtyping import Int

from idnn.adsorption.structures import Crystal

SYMMETRY = 0.01
"""Å by which atoms may miss the place that symmetry gives them."""


def equivalent(crystal: Crystal, *, tolerance: float = SYMMETRY) -> Int[np.ndarray, " site"]:
    """For each atom the first that symmetry makes its equal; itself where none is found.

    Of all symmetries of the crystal, those too that its cell as given lacks (spglib: Togo et al.
    2024, doi:10.1080/27660400.2024.2384822).

    Args:
        crystal: with at least one atom.
        tolerance: Å by which atoms may miss the place that symmetry gives them.
    """
    import spglib

    found = None
    with _failures_as_none():
        found = spglib.get_symmetry_dataset(_cell(crystal), symprec=tolerance)
    labels = np.arange(len(crystal.numbers))
    return labels if found is None else np.asarray(found.crystallographic_orbits)


def primitive(crystal: Crystal, *, tolerance: float = SYMMETRY) -> Crystal:
    """The same crystal in its smallest cell, whose edges are as short as can be (Niggli's).

    So two descriptions of a crystal become one, up to order and sense of equal edges. Charges are
    not kept. The crystal itself is returned where no symmetry is found.

    Args:
        crystal: with at least one atom.
        tolerance: Å by which atoms may miss the place that symmetry gives them.
    """
    import spglib

    found = short = None
    with _failures_as_none():
        found = spglib.standardize_cell(
            _cell(crystal), to_primitive=True, no_idealize=True, symprec=tolerance
        )
        short = None if found is None else spglib.niggli_reduce(found[0])
    if found is None or short is None:
        return crystal
    lattice, fractional, numbers = map(np.asarray, found)
    short = np.asarray(short)
    places = fractional @ lattice @ np.linalg.inv(short)
    return Crystal(crystal.name, short, places, numbers.astype(int))


def _cell(crystal: Crystal) -> Any:  # noqa: ANN401
    """As spglib takes it: arrays will do, though its annotations want lists."""
    return crystal.lattice, crystal.fractional, crystal.numbers


@contextmanager
def _failures_as_none() -> Iterator[None]:
    """Older versions of spglib return None where newer ones raise, and warn of the change."""
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with suppress(spglib.SpglibError):
            yield
