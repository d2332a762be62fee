"""Hosts for tests of adsorption: a box of nothing, one atom in a skewed cell, silicalite."""

from functools import cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from idnn.adsorption.cif import read_cif
from idnn.adsorption.environments import Windows
from idnn.adsorption.forcefield import ForceField
from idnn.adsorption.guests import Guest, Site
from idnn.adsorption.learning import ModelSettings, Table, learn
from idnn.adsorption.network import AttentionSettings
from idnn.adsorption.structures import Crystal, supercell
from idnn.adsorption.training import TrainingSettings

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


def rock_salt(edge=4.0, numbers=(14, 8)):
    """Two kinds of atoms, each on a face-centred lattice."""
    face = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    kinds = np.repeat(np.array(numbers), 4)
    return Crystal(
        "rock salt", edge * np.eye(3), np.vstack([face, face + np.array([0.5, 0, 0])]), kinds
    )


def fluorite(edge=5.46):
    calcium = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    places = np.vstack([calcium, calcium + 0.25, calcium + 0.75])
    return Crystal("fluorite", edge * np.eye(3), places, np.repeat([20, 9, 9], 4))


def body_centred(edges=(2.3, 2.4, 2.5), numbers=(14, 8), name="body-centred"):
    """Two atoms in a cell with three edges (Å)."""
    places = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    return Crystal(name, np.diag(np.array(edges)), places, np.array(numbers))


@cache
def small_crystals():
    """Of three pairs of elements, by name."""
    edges = np.random.default_rng(0).uniform(2.25, 2.55, (21, 3))
    pairs = [(14, 8), (22, 8), (12, 8)]
    names = [f"small{n}" for n in range(21)]
    return {x: body_centred(edges[n], pairs[n % 3], x) for n, x in enumerate(names)}


def densities(crystals):
    """A table of g/cm³, with volumes (Å³) to be learned beside."""
    return Table(
        names=tuple(crystals),
        targets=("density",),
        values=np.array([[1e-3 * crystal.density] for crystal in crystals.values()]),
        beside=("volume",),
        descriptors=np.array([[crystal.volume] for crystal in crystals.values()]),
        source="made up",
    )


def small_settings(steps=60, **changes):
    """Of a model that is trained in a second."""
    network = AttentionSettings(width=8, layers=1, windows=Windows(reaches=(4.0,), functions=4))
    training = TrainingSettings(network=network, epochs=1, steps=steps, rate=1e-2)
    return ModelSettings(**{"training": training, "members": 2} | changes)


@cache
def learned_densities():
    """A model of `densities`."""
    return learn(small_crystals(), densities(small_crystals()), small_settings())


def pair(distance, edge=14.0, numbers=(14, 8)):
    """Two atoms in a cube, far from all others."""
    places = np.array([[0.1, 0.1, 0.1], [0.1 + distance / edge, 0.1, 0.1]])
    return Crystal("pair", edge * np.eye(3), places, np.array(numbers))


def turned(crystal):
    """Rotated in space and moved along its cell."""
    axis = Rotation.from_euler("zyx", [0.3, -1.1, 2.0]).as_matrix()
    moved = crystal.fractional + np.array([0.13, 0.41, 0.77])
    return Crystal("turned", crystal.lattice @ axis.T, moved, crystal.numbers)


def other_descriptions(crystal):
    """The same crystal in a supercell, in a skewed cell, turned and moved."""
    return {
        "supercell": supercell(crystal, (2, 1, 2)),
        "cell": in_another_cell(crystal, np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]])),
        "turned": turned(crystal),
    }
