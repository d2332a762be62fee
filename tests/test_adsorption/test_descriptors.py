"""Pores against closed forms of packed spheres, published zeolites, and the choice of cell."""

import csv
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hosts import DATA, SHORT, in_another_cell, silicalite, skewed, sphere
from scipy.optimize import minimize

from idnn.adsorption import descriptors, histogram
from idnn.adsorption.cif import read_cif
from idnn.adsorption.clearance import atomic_radii, clearance
from idnn.adsorption.descriptors import describe
from idnn.adsorption.field import host_field
from idnn.adsorption.holes import cavity
from idnn.adsorption.structures import Crystal, supercell
from sampling.adsorption.henry import dilute

ROOT = Path(__file__).resolve().parents[2]
SITES = {
    "simple": [(0, 0, 0)],
    "face": [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
    "body": [(0, 0, 0), (0.5, 0.5, 0.5)],
}
HOLE = {"simple": math.sqrt(3), "face": 1.0, "body": math.sqrt(5) / 2}
WINDOW = {"simple": math.sqrt(2), "face": 2 / math.sqrt(6), "body": 3 * math.sqrt(2) / 4}
PITCH, RADIUS = 2.5, 1.5


def argon(lattice, places):
    places = np.array(places, dtype=float)
    return Crystal("argon", np.array(lattice, dtype=float), places, np.full(len(places), 18))


def packed(kind, edge=6.0):
    return argon(edge * np.eye(3), SITES[kind])


def walls(keep, counts=(4, 4, 4)):
    """Atoms on a cubic lattice, where `keep` says so."""
    places = [n for n in product(*map(range, counts)) if keep(*n)]
    return argon(PITCH * np.diag(counts), np.array(places) / np.array(counts))


def look(crystal, radius=RADIUS, probe=1.0, spacing=0.25):
    return describe(crystal, radii={"Ar": radius}, probe_radius=probe, spacing=spacing)


@pytest.mark.parametrize("kind", SITES)
def test_holes_and_windows_of_packed_spheres_are_those_of_geometry(kind):
    found = look(packed(kind), radius=1.4, probe=0.4, spacing=0.37)
    assert found.largest_cavity == pytest.approx(6 * HOLE[kind] - 2.8, abs=1e-4)
    assert found.limiting == pytest.approx([6 * WINDOW[kind] - 2.8] * 3, abs=1e-6)
    assert found.dimension == 3
    assert found.pocket_fraction == 0


@pytest.mark.parametrize("kind", SITES)
@pytest.mark.parametrize("spacing", [0.5, 0.31, 0.2])
def test_the_grid_alone_is_within_its_stated_error(kind, spacing, monkeypatch):
    monkeypatch.setattr(descriptors, "window", lambda field, point, *, value, within: value)
    crystal = packed(kind)
    moved = Crystal("m", crystal.lattice, crystal.fractional + 0.0371, crystal.numbers)
    found = look(moved, radius=1.4, probe=0.4, spacing=spacing)
    error = np.abs(np.array(found.limiting) - (6 * WINDOW[kind] - 2.8))
    assert error.max() <= found.limiting_error <= 3 * spacing
    assert error.max() > 1e-3


@pytest.mark.parametrize(("kind", "atoms"), [("simple", 1), ("face", 4), ("body", 2)])
def test_void_fraction_is_what_spheres_leave(kind, atoms):
    found = look(packed(kind), probe=0.5, spacing=0.2)
    for radius, fraction in ((1.5, found.void_fraction), (2.0, found.channel_fraction)):
        # Worst in the gaps of 0.24 Å between spheres of 2 Å, that are as narrow as the grid.
        exact = 1 - atoms * 4 / 3 * math.pi * radius**3 / 216
        assert fraction == pytest.approx(exact, abs=3e-3)
    large = look(packed("simple", 9.0), radius=1.0)
    exact = 1 - 4 / 3 * math.pi * (1 + descriptors.HELIUM_RADIUS) ** 3 / 729
    assert large.helium_fraction == pytest.approx(exact, abs=2e-3)


def test_density_and_volumes_are_per_gram():
    crystal = packed("face")
    found = look(crystal)
    grams = 4 * 39.948 / 6.02214076e23
    assert found.density == pytest.approx(grams / 216e-24, rel=1e-4)
    volume = found.channel_fraction * 216e-24
    assert found.channel_volume == pytest.approx(volume / grams, rel=1e-4)
    assert found.surface_per_gram == pytest.approx(found.surface_per_volume / found.density)


def test_surface_of_a_lone_atom_is_a_sphere():
    found = look(packed("simple", 12.0))
    area = 4 * math.pi * (RADIUS + 1.0) ** 2
    assert found.surface_per_volume == pytest.approx(1e4 * area / 12**3, rel=1e-9)
    assert found.pocket_surface_per_gram == 0


def test_two_spheres_that_overlap_lose_their_caps():
    found = look(argon(np.diag([12, 12, 12]), [(0, 0, 0), (0.25, 0, 0)]))
    radius, apart = RADIUS + 1.0, 3.0
    area = 2 * (4 * math.pi * radius**2 - 2 * math.pi * radius * (radius - apart / 2))
    # 1257 directions share the sphere: each edge of a cap is right to one in about a hundred.
    assert found.surface_per_volume == pytest.approx(1e4 * area / 12**3, rel=3e-3)


def test_a_slit_has_two_dimensions():
    found = look(walls(lambda i, j, k: True, (1, 1, 1)), probe=1.0)
    assert found.dimension == 0
    edge, width = PITCH, 10.0
    slit = look(argon(np.diag([edge, edge, width]), [(0, 0, 0)]))
    above, bridge = math.hypot(width / 2, edge / math.sqrt(2)), math.hypot(width / 2, edge / 2)
    assert slit.dimension == 2
    assert slit.largest_cavity == pytest.approx(2 * (above - RADIUS), abs=1e-4)
    through = math.sqrt(2) * edge - 2 * RADIUS
    assert slit.limiting == pytest.approx([2 * (bridge - RADIUS)] * 2 + [through], abs=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_a_tube_has_one_dimension(axis):
    crystal = walls(lambda i, j, k: i == 0 or j == 0, (4, 4, 1))
    roll = np.roll(np.arange(3), axis)
    turned = argon(crystal.lattice[roll][:, roll], crystal.fractional[:, roll])
    found = look(turned)
    assert found.dimension == 1
    assert found.largest_cavity == pytest.approx(2 * (math.hypot(5, PITCH / 2) - RADIUS), abs=1e-4)
    through = math.sqrt(2) * PITCH - 2 * RADIUS
    assert found.limiting == pytest.approx([10 - 2 * RADIUS, through, through], abs=1e-6)
    assert found.pore_limiting == found.limiting[0]
    assert found.channel_fraction > 0
    assert found.pocket_fraction == 0


def test_a_closed_cage_is_a_pocket_although_its_neighbours_repeat():
    found = look(walls(lambda i, j, k: 0 in (i, j, k)))
    through = math.sqrt(2) * PITCH - 2 * RADIUS
    assert found.dimension == 0
    assert found.channel_fraction == 0
    assert found.pocket_fraction > 0.05
    assert found.surface_per_gram == 0
    assert found.pocket_surface_per_gram > 100
    assert found.pocket_volume == pytest.approx(found.pocket_fraction / found.density)
    assert found.largest_cavity == pytest.approx(10 - 2 * RADIUS, abs=1e-4)
    assert found.limiting == pytest.approx([through] * 3, abs=1e-6)


def test_channels_that_do_not_meet_have_the_dimension_of_each():
    """One tube along x and one along y, in two storeys: neither of them makes a plane."""

    def solid(i, j, k):
        first, second = j in (1, 2, 3) and k in (1, 2, 3), i in (1, 2, 3) and k in (5, 6, 7)
        return not (first or second)

    found = look(walls(solid, (4, 4, 8)), spacing=0.3)
    assert found.dimension == 1
    assert found.limiting[0] > 2 > found.limiting[1]


def test_spheres_that_fill_space_leave_nothing():
    found = look(packed("face", 4.0), radius=2.5)
    assert found.largest_cavity < 0
    assert found.limiting == (0, 0, 0)
    assert found.void_fraction == found.channel_fraction == found.surface_per_gram == 0


@pytest.mark.parametrize("transform", [np.eye(3, dtype=int), [[1, 2, 0], [0, 1, -1], [1, 2, 1]]])
def test_distances_are_to_the_nearest_of_all_images(transform):
    crystal = in_another_cell(skewed(), np.array(transform))
    field = clearance(crystal, atomic_radii(crystal), spacing=0.7)
    points = np.indices(field.values.shape).reshape(3, -1).T @ field.steps
    exact = np.full(len(points), np.inf)
    for image in product(range(-3, 4), repeat=3):
        for place, radius in zip(skewed().fractional, atomic_radii(skewed()), strict=True):
            centre = (place + np.array(image)) @ skewed().lattice
            exact = np.minimum(exact, np.linalg.norm(points - centre, axis=1) - radius)
    np.testing.assert_allclose(field.values.ravel(), exact, atol=1e-9)
    assert field(points[77] + crystal.lattice[2]) == pytest.approx(exact[77], abs=1e-9)


def test_no_search_from_random_places_finds_a_larger_cavity():
    crystal = skewed()
    field = clearance(crystal, atomic_radii(crystal), spacing=0.3)
    starts = np.random.default_rng(2).random((25, 3)) @ crystal.lattice
    options = {"xatol": 1e-6, "fatol": 1e-8}
    found = [
        minimize(lambda p: -field(p), s, method="Nelder-Mead", options=options) for s in starts
    ]
    assert cavity(field) == pytest.approx(max(-f.fun for f in found), abs=1e-4)


@pytest.mark.parametrize("change", ["cell", "supercell", "translation"])
def test_the_choice_of_cell_changes_nothing(change):
    crystal = skewed()
    moved = crystal.fractional + np.array([0.31, 0.17, 0.43])
    changed = {
        "cell": in_another_cell(crystal, np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]])),
        "supercell": supercell(crystal, (2, 1, 1)),
        "translation": Crystal("moved", crystal.lattice, moved, crystal.numbers),
    }[change]
    one, other = (describe(c, probe_radius=1.2, spacing=0.2) for c in (crystal, changed))
    assert other.dimension == one.dimension
    assert other.density == pytest.approx(one.density)
    assert other.largest_cavity == pytest.approx(one.largest_cavity, abs=1e-4)
    assert other.limiting == pytest.approx(one.limiting, abs=1e-6)
    first, second = (d.surface_per_gram + d.pocket_surface_per_gram for d in (one, other))
    assert first == pytest.approx(second, rel=1e-9)
    # What of it belongs to channels is the grid's decision.
    assert other.surface_per_gram == pytest.approx(one.surface_per_gram, rel=1e-2)
    # Two grids that are not aligned.
    for name in ("void_fraction", "helium_fraction", "channel_fraction"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=2e-3)


def test_silicalite_has_the_published_channels():
    """Channels [100] 5.1 × 5.5 Å and [010] 5.3 × 5.6 Å of 10 atoms, oxygen of 1.35 Å.

    Baerlocher, McCusker & Olson 2007, Atlas of Zeolite Framework Types, MFI. A sphere is stopped
    by the shorter diameters. They are given to 0.1 Å. The atlas' database has 6.36 Å for the
    largest cavity and 4.70 Å and 4.46 Å for diffusion, of an idealised framework in a cell up to
    1.8 % shorter (13.142 Å along c): not of this structure, so only within 0.8 Å.
    """
    found = describe(silicalite(), radii={"O": 1.35, "Si": 1.35}, probe_radius=1.2, spacing=0.25)
    assert found.limiting == pytest.approx([5.3, 5.1, 5.1], abs=0.1)
    assert found.dimension == 3
    assert found.largest_cavity == pytest.approx(6.36, abs=0.4)
    assert found.limiting == pytest.approx([4.70, 4.46, 4.46], abs=0.8)


def test_zeolite_a_is_what_another_program_found():
    """Zeo++ with O 1.52 Å, Si 2.10 Å and a probe of 1.2 Å, per silicon atom.

    Ducamp & Coudert 2021, doi:10.1021/acs.jpcc.1c03975, supporting data. Its surfaces and volumes
    are sampled at random; its cavity is a node of the radical tessellation, which is not the
    largest place where radii differ.
    """
    crystal = read_cif(DATA / "LTA.cif")
    found = describe(crystal, radii={"O": 1.52, "Si": 2.10}, probe_radius=1.2, spacing=0.2)
    volume = crystal.volume / 24
    assert found.pore_limiting == pytest.approx(3.81365, abs=2e-5)
    assert found.largest_cavity == pytest.approx(10.23827, abs=0.03)
    assert found.largest_cavity >= 10.23827
    assert found.channel_fraction * volume == pytest.approx(13.77875, rel=0.01)
    assert found.pocket_fraction * volume == pytest.approx(0.93128, rel=0.03)
    assert found.surface_per_volume * volume / 1e4 == pytest.approx(11.40479, rel=0.01)
    pocket = found.pocket_surface_per_gram * found.density * volume / 1e4
    assert pocket == pytest.approx(1.81393, rel=0.02)


def test_radii_are_half_of_the_force_field_s_diameters():
    text = (ROOT / "idnn/adsorption/hosts.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    sigma = {r["atom"]: float(r["sigma_A"]) for r in rows if r["force_field"] == "UFF"}
    text = (ROOT / "idnn/adsorption/radii.csv").read_text(encoding="utf-8")
    radii = {r["element"]: float(r["radius_A"]) for r in csv.DictReader(text.splitlines())}
    assert radii == pytest.approx({k: v / 2 for k, v in sigma.items()}, abs=1e-5)
    assert atomic_radii(skewed()) == pytest.approx([1.55905, 1.9132, 1.55905])


def test_an_energy_histogram_adds_up_to_volume_and_henry_coefficient():
    field = host_field(skewed(), SHORT, sphere(), spacing=0.4)
    found = histogram.energy_histogram(field.values[0], temperature=300.0)
    assert found.volume.sum() == pytest.approx(1)
    exact = dilute(field, temperature=300.0).boltzmann.value
    assert found.boltzmann.sum() == pytest.approx(float(exact), rel=1e-9)
    assert len(found.volume) == len(found.edges) + 1 == 16
    values = field.values[0]
    inside = (values >= found.edges[11]) & (values < found.edges[12])
    assert found.volume[12] == pytest.approx(inside.mean())
    assert found.volume[12] > 0


def test_edges_are_multiples_of_the_thermal_energy():
    edges = histogram.boltzmann_edges(200.0, lowest=-3, highest=1, width=0.5)
    np.testing.assert_allclose(edges, np.arange(-600, 201, 100))


EMPTY = Crystal("void", np.eye(3), np.zeros((0, 3)), np.zeros(0, dtype=int))
HEAVY = Crystal("heavy", 9 * np.eye(3), np.zeros((1, 3)), np.array([118]))


@pytest.mark.parametrize(
    ("crystal", "options", "message"),
    [
        (EMPTY, {}, "`crystal` must hold atoms; void has 0"),
        (packed("simple"), {"probe_radius": -0.1}, r"`probe_radius` must lie in \[0, 10\] Å"),
        (packed("simple"), {"probe_radius": math.nan}, "`probe_radius` .* it is nan"),
        (packed("simple"), {"spacing": 0.0}, r"`spacing` must lie in \[0.02, 1\] Å; it is 0.0"),
        (packed("simple"), {"spacing": math.nan}, "`spacing` .* it is nan"),
        (packed("simple"), {"probe_radius": 10.5}, "`probe_radius` .* it is 10.5"),
        (packed("simple"), {"spacing": 0.01}, "`spacing` .* it is 0.01"),
        (packed("simple"), {"spacing": 1.5}, "`spacing` .* it is 1.5"),
        (packed("simple"), {"radii": {"Ar": 0.0}}, "`radii` must be finite .* Ar is 0.0"),
        (packed("simple"), {"radii": {"Ar": math.nan}}, "`radii` must be finite .* Ar is nan"),
        (packed("simple"), {"radii": {"Ar": math.inf}}, "`radii` must be finite .* Ar is inf"),
        (packed("simple"), {"radii": {"Ar": -1.0}}, "`radii` must be finite and positive"),
        (packed("simple"), {"radii": {"argon": 1.0}}, "`radii` must be by the symbol"),
        (HEAVY, {}, "`radii` must hold every element of heavy; .* number 118"),
    ],
)
def test_what_cannot_be_described_is_refused(crystal, options, message):
    with pytest.raises(ValueError, match=message):
        describe(crystal, **options)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0], {"temperature": 0.0, "edges": np.array([0.0])}, "`temperature` must be finite"),
        ([1.0], {"temperature": 300.0, "edges": np.array([1.0, 0.0])}, "`edges` must be finite"),
        ([math.nan], {"temperature": 300.0}, "`energies` must be numbers; 1 of 1"),
        ([], {"temperature": 300.0}, "`energies` must be numbers; 0 of 0"),
    ],
)
def test_a_histogram_of_nothing_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        histogram.energy_histogram(np.array(values), **options)


@pytest.mark.parametrize(
    ("temperature", "options", "message"),
    [
        (-1.0, {}, "`temperature` must be finite and positive"),
        (300.0, {"width": 0.0}, "`width` must be finite and positive"),
        (300.0, {"lowest": 3.0}, "`highest` must be finite and above `lowest`"),
    ],
)
def test_edges_that_do_not_rise_are_refused(temperature, options, message):
    with pytest.raises(ValueError, match=message):
        histogram.boltzmann_edges(temperature, **options)
