"""Hosts for tests of adsorption: a box of nothing, one atom in a skewed cell, silicalite."""

from pathlib import Path

import numpy as np

from idnn.adsorption.cif import read_cif
from idnn.adsorption.forcefield import ForceField
from idnn.adsorption.guests import Guest, Site
from idnn.adsorption.structures import Crystal

DATA = Path(__file__).parent / "data/adsorption"
SKEWED = np.array([[7.0, 0.0, 0.0], [3.0, 6.5, 0.0], [-2.0, 2.5, 8.0]])
SHORT = ForceField("short", {"O": (120.0, 3.0), "Si": (20.0, 2.5)}, cutoff=6.0)


def box(edge):
    """An empty cube."""
    return Crystal("empty", edge * np.eye(3), np.zeros((0, 3)), np.zeros(0, dtype=int))


def skewed():
    """Two oxygen atoms and a silicon one in a triclinic cell."""
    places = np.array([[0.1, 0.2, 0.3], [0.35, 0.3, 0.45], [0.15, 0.4, 0.6]])
    return Crystal("skewed", SKEWED, places, np.array([8, 14, 8]))


def in_another_cell(crystal, transform):
    """The same crystal with other lattice vectors, those of a unimodular integer matrix."""
    lattice = transform @ crystal.lattice
    fractional = crystal.fractional @ np.linalg.inv(transform)
    return Crystal("other cell", lattice, fractional, crystal.numbers, crystal.charges)


def silicalite():
    return read_cif(DATA / "MFI.cif")


def sphere(epsilon=150.0, sigma=3.0):
    """A guest of one site, with methane's equation of state."""
    return Guest("sphere", (Site("s", epsilon, sigma),), 190.564, 4599200.0, 0.01142, "made up")


def rod(epsilon=60.0, sigma=2.8):
    """A guest of three sites in a row, the outer ones alike."""
    outer = [Site("o", epsilon, sigma, place=(0.0, 0.0, z)) for z in (1.1, -1.1)]
    sites = (Site("c", 0.5 * epsilon, sigma), *outer)
    return Guest("rod", sites, 190.564, 4599200.0, 0.01142, "made up")
