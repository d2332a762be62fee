"""Flat integer tables against icet, and the expansion's file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from icet import ClusterExpansion as IcetExpansion

from sampling.clusters import cluster_space, illustrative_expansion, orbits
from sampling.expansion import ClusterExpansion, cluster_sums
from sampling.ordering import Ordering, ParentLattice, fcc

LATTICE = fcc(("Ni", "Al"), 3.6)
CUTOFFS = (6.3, 4.5, 3.7)
SUPERCELLS = (
    [[3, 1, 0], [-1, 2, 1], [0, 2, 4]],
    [[1, 0, 0], [0, 1, 0], [0, 0, 7]],
    [[2, -2, 2], [-1, 0, 3], [4, 1, -1]],
)


def sites_of(supercell, bases=1):
    box = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), -1).reshape(-1, 3)
    inside = (box @ np.linalg.inv(supercell) + 1e-9) // 1 == 0
    offsets = box[inside.all(1)]
    return np.concatenate(
        [np.repeat(offsets, bases, 0), np.tile(np.arange(bases), len(offsets))[:, None]], axis=1
    )


def random_ordering(supercell, rng, bases=1):
    supercell = np.array(supercell)
    sites = sites_of(supercell, bases)
    return Ordering(supercell, sites, rng.integers(0, 2, len(sites)))


def to_atoms(lattice, ordering):
    fractional = ordering.sites[:, :3] + lattice.basis[ordering.sites[:, 3]]
    return Atoms(
        [lattice.species[k] for k in ordering.occupation],
        positions=fractional @ lattice.primitive_cell,
        cell=ordering.supercell @ lattice.primitive_cell,
        pbc=True,
    )


def expansion_of(lattice, cutoffs, eci):
    listed = orbits(lattice, cutoffs)
    return ClusterExpansion(
        (lattice.species,), lattice.primitive_cell, lattice.basis, listed, eci(len(listed) + 1),
        np.zeros((len(listed) + 1,) * 2), illustrative_expansion().provenance,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")
@pytest.mark.parametrize("supercell", SUPERCELLS)
def test_energies_of_the_flat_tables_equal_those_of_icet(supercell):
    rng = np.random.default_rng(1)
    expansion = expansion_of(LATTICE, CUTOFFS, rng.standard_normal)
    # icet's parameters are J times multiplicity.
    multiplicity = np.array([1] + [orbit.multiplicity for orbit in expansion.orbits])
    icet = IcetExpansion(cluster_space(LATTICE, CUTOFFS), expansion.eci * multiplicity)
    for _ in range(3):
        ordering = random_ordering(supercell, rng)
        assert expansion.predict([ordering])[0] == pytest.approx(
            icet.predict(to_atoms(LATTICE, ordering)), abs=1e-10
        )


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")
def test_a_lattice_of_two_sites_agrees_with_icet():
    hcp = ParentLattice(
        ("Ti", "Al"),
        2.9 * np.array([[1.0, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, np.sqrt(8 / 3)]]),
        np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
    )
    rng = np.random.default_rng(2)
    ordering = random_ordering([[2, 0, 0], [0, 2, 0], [0, 0, 2]], rng, bases=2)
    space = cluster_space(hcp, [4.2, 3.0])
    rows = cluster_sums(orbits(hcp, [4.2, 3.0]), [ordering])[0]
    vector = space.get_cluster_vector(to_atoms(hcp, ordering))
    per_site = np.array([1, *(o.multiplicity / 2 for o in orbits(hcp, [4.2, 3.0]))])
    assert rows == pytest.approx(vector * per_site, abs=1e-12)


def test_pure_crystals_have_spin_plus_one_and_minus_one():
    listed = orbits(LATTICE, CUTOFFS)
    sites, one = np.zeros((1, 4), np.int64), np.eye(3, dtype=np.int64)
    nickel, aluminium = (Ordering(one, sites, np.array([k])) for k in (0, 1))
    multiplicity = [orbit.multiplicity for orbit in listed]
    signs = [(-1) ** orbit.order for orbit in listed]
    assert cluster_sums(listed, [nickel])[0, 1:].tolist() == multiplicity
    assert cluster_sums(listed, [aluminium])[0, 1:].tolist() == list(
        np.multiply(multiplicity, signs)
    )


def test_energy_per_site_does_not_depend_on_the_cell_chosen():
    rng = np.random.default_rng(3)
    expansion = illustrative_expansion()
    small = random_ordering([[2, 1, 0], [0, 2, 1], [1, 0, 2]], rng)
    step = np.append(small.supercell[0], 0)
    doubled = np.concatenate([small.sites, small.sites + step])
    large = Ordering(
        np.array([2, 1, 1])[:, None] * small.supercell, doubled, np.tile(small.occupation, 2)
    )
    assert expansion.predict([large]) == pytest.approx(expansion.predict([small]), abs=1e-13)


def test_fcc_shells_have_their_known_multiplicities():
    listed = illustrative_expansion().orbits
    assert [(o.order, o.multiplicity) for o in listed] == [
        (1, 1), (2, 6), (2, 3), (2, 12), (2, 6), (3, 8), (4, 2)
    ]  # fmt: skip


def test_an_ordering_must_list_each_site_once():
    sites = np.array([[0, 0, 0, 0], [2, 0, 0, 0]])
    with pytest.raises(ValueError, match="`sites` must list every site"):
        Ordering(np.diag([2, 1, 1]), sites, np.array([0, 1]))
    with pytest.raises(ValueError, match="`supercell` must not be singular"):
        Ordering(np.zeros((3, 3), np.int64), sites, np.array([0, 1]))
    with pytest.raises(ValueError, match="`occupation` must hold numbers"):
        Ordering(np.diag([2, 1, 1]), sites // 2, np.array([0, -1]))


def test_a_cell_that_is_not_primitive_is_refused():
    cubic = ParentLattice(
        ("Ni", "Al"), 3.6 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]], dtype=float)
    )
    with pytest.raises(ValueError, match="`primitive_cell` must be primitive"):
        orbits(cubic, [4.0])


def test_the_file_gives_back_the_expansion_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(4)
    expansion = expansion_of(LATTICE, CUTOFFS, rng.standard_normal)
    expansion.to_json(tmp_path / "expansion.json")
    again = ClusterExpansion.from_json(tmp_path / "expansion.json")
    for name in ("primitive_cell", "basis", "eci", "covariance"):
        assert np.array_equal(getattr(again, name), getattr(expansion, name))
    assert again.species == expansion.species
    assert again.provenance == expansion.provenance
    for one, other in zip(again.orbits, expansion.orbits, strict=True):
        assert one.radius == other.radius
        assert np.array_equal(one.clusters, other.clusters)
    assert list(tmp_path.iterdir()) == [tmp_path / "expansion.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("eci"), "lacks the key 'eci'"),
        (lambda d: d.update(format="other"), "`format` must be"),
        (lambda d: d["eci"].pop(), r"`eci` must have shape \(8,\); it has \(7,\)"),
        (lambda d: d["eci"].__setitem__(0, float("nan")), "`eci` must be finite"),
        (lambda d: d["eci"].__setitem__(0, "x"), "`eci` must hold numbers of type float"),
        (lambda d: d.update(species=["Ni", "Ni"]), "`species` must be two different"),
        (lambda d: d.update(species="Ni"), "`species` must be a list of names"),
        (
            lambda d: d["orbits"][0].update(clusters=[[0.5]]),
            "clusters` must hold numbers of type int",
        ),
        (lambda d: d.update(orbits=3), "is not a cluster expansion"),
        (lambda d: d.update(primitive_cell=[[1, 0, 0], [0, 1]]), "is not a cluster expansion"),
        (lambda d: d.update(primitive_cell=[[1.0, 0.0]]), "`primitive_cell` must have shape"),
        (lambda d: d["covariance"].pop(), "`covariance` must have shape"),
        (lambda d: d["covariance"][0].pop(), "is not a cluster expansion"),
        (lambda d: d["orbits"][0]["clusters"][0][0].pop(), "clusters` must have shape"),
        (lambda d: d["orbits"][0]["clusters"][0][0].__setitem__(3, 7), "basis index"),
        (lambda d: d["provenance"].update(extra=1), "is not a cluster expansion"),
        (lambda d: d["provenance"].pop("method"), "is not a cluster expansion"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "expansion.json"
    illustrative_expansion().to_json(path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=message):
        ClusterExpansion.from_json(path)


def test_an_expansion_holds_one_interaction_per_orbit():
    whole = illustrative_expansion()
    with pytest.raises(ValueError, match="`eci` must hold the constant and one value per orbit"):
        replace(whole, orbits=whole.orbits[:-1])


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "expansion.json"
    illustrative_expansion().to_json(path)
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ValueError, match="truncated or corrupt"):
        ClusterExpansion.from_json(path)


def test_lattices_of_one_species_or_of_none_known_are_refused():
    with pytest.raises(ValueError, match="`species` must be two different ones"):
        fcc(("Ni", "Ni"), 3.6)
    with pytest.raises(ValueError, match=r"`species` must be symbols of elements.*\['Nj'\]"):
        orbits(fcc(("Nj", "Al"), 3.6), [4.0])
    for lattice_parameter in (0.0, float("nan")):
        with pytest.raises(ValueError, match="`primitive_cell` must have finite, independent"):
            fcc(("Ni", "Al"), lattice_parameter)
