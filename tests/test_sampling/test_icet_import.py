"""Expansions of any lattice and any species from icet: the same energies, from JSON too."""

import json
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from boxes import plain_system
from icet import ClusterExpansion as IcetExpansion
from icet import ClusterSpace

from idnn.order_parameters import FCC_L12
from sampling.clusters import from_icet
from sampling.expansion import ClusterExpansion, point_functions
from sampling.groundstates import find_ground_states
from sampling.hamiltonian import ClusterHamiltonian
from sampling.lattice import Supercell
from sampling.ordering import Ordering

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING")

PEROVSKITE = Atoms(
    "BaTiO3",
    cell=[4.0, 4.0, 4.0],
    scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    pbc=True,
)
CRYSTALS = {
    "fcc, lighter first": (bulk("Ni", a=3.6), [5.2, 3.7, 3.7], [["Al", "Ni"]]),
    "hcp": (bulk("Ti", "hcp", a=2.95, c=4.7), [5.0, 4.2], [["Ti", "Al"]] * 2),
    "bcc": (bulk("Fe", "bcc", a=2.9), [5.0, 3.0], [["Fe", "Al"]]),
    "rock salt, oxygen alone": (
        bulk("MgO", "rocksalt", a=4.2), [6.0, 4.3], [["Mg", "Zn"], ["O"]]),
    "perovskite, titanium alone": (
        PEROVSKITE, [4.5, 4.1], [["Ba", "Sr"], ["Ti"], ["O", "F"], ["O", "F"], ["O", "F"]]),
    "two pairs of species": (
        bulk("GaAs", "zincblende", a=5.7), [5.8, 4.1], [["Ga", "Al"], ["As", "Sb"]]),
    "ternary fcc": (bulk("Au", a=4.1), [5.9, 4.2, 3.0], [["Pd", "Au", "Cu"]]),
    "quaternary fcc": (bulk("Au", a=4.1), [4.2, 3.0], [["Pd", "Au", "Cu", "Ag"]]),
    "quinary bcc": (bulk("W", "bcc", a=3.2), [3.3, 2.9], [["W", "Ta", "Mo", "Nb", "V"]]),
    "three and two species": (
        bulk("GaAs", "zincblende", a=5.7), [5.8, 4.1], [["Ga", "Al", "In"], ["As", "Sb"]]),
}  # fmt: skip
BINARY = ["rock salt, oxygen alone", "two pairs of species"]


def icet_model(name):
    structure, cutoffs, species = CRYSTALS[name]
    space = ClusterSpace(structure, cutoffs, species)
    return IcetExpansion(space, np.random.default_rng(1).normal(0, 0.1, len(space)))


def occupied(icet, expansion, supercell, offsets, chosen):
    """Atoms of a supercell: `chosen` gives the species of the active sites, site after site."""
    space = icet.get_cluster_space_copy()
    primitive, names = space.primitive_structure, iter(chosen)
    fixed = [site for site, allowed in enumerate(space.chemical_symbols) if len(allowed) == 1]
    active = [site for site in range(len(primitive)) if site not in fixed]
    fractional = primitive.get_scaled_positions(wrap=False)
    symbols, positions = [], []
    for site, offset in product(active + fixed, offsets):
        symbols.append(primitive.symbols[site] if site in fixed else next(names))
        positions.append((fractional[site] + offset) @ primitive.cell.array)
    return Atoms(symbols, positions=positions, cell=supercell @ primitive.cell.array, pbc=True)


def random_pair(icet, expansion, random):
    """One random ordering in our terms and in icet's."""
    edges = (2, 3, 2)
    offsets = np.array(list(product(*map(range, edges))))
    bases = len(expansion.basis)
    basis = np.repeat(np.arange(bases), len(offsets))
    sites = np.concatenate([np.tile(offsets, (bases, 1)), basis[:, None]], axis=1)
    occupation = np.array([random.integers(len(expansion.species[b])) for b in basis])
    names = [expansion.species[b][k] for b, k in zip(basis, occupation, strict=True)]
    atoms = occupied(icet, expansion, np.diag(edges), offsets, names)
    return Ordering(np.diag(edges), sites, occupation), atoms


def assert_same_energies(icet, expansion):
    random = np.random.default_rng(2)
    for _ in range(4):
        ordering, atoms = random_pair(icet, expansion, random)
        per_site = icet.predict(atoms) * len(atoms) / len(ordering.sites)
        assert expansion.predict([ordering])[0] == pytest.approx(per_site, abs=1e-10)


@pytest.mark.parametrize("name", CRYSTALS)
def test_energies_equal_those_of_icet_directly_and_by_way_of_files(tmp_path, name):
    icet = icet_model(name)
    assert_same_energies(icet, from_icet(icet))
    icet.write(str(tmp_path / "icet.ce"))
    from_icet(IcetExpansion.read(str(tmp_path / "icet.ce"))).to_json(tmp_path / "ours.json")
    again = ClusterExpansion.from_json(tmp_path / "ours.json")
    assert_same_energies(icet, again)
    assert again.species == from_icet(icet).species


def test_merged_and_pruned_orbits_keep_their_energies():
    structure, _, species = CRYSTALS["ternary fcc"]
    space = ClusterSpace(structure, [5.9, 4.2], species)
    space.merge_orbits({1: [2]})
    space.prune_orbit_list([2])
    icet = IcetExpansion(space, np.random.default_rng(3).normal(0, 0.1, len(space)))
    assert_same_energies(icet, from_icet(icet))


@pytest.mark.parametrize("name", BINARY)
def test_flip_costs_equal_those_of_icet_where_a_sublattice_is_inactive_or_other(name):
    # Interactions in binary fractions, which the Hamiltonian does not round.
    space = icet_model(name).get_cluster_space_copy()
    scale = from_icet(IcetExpansion(space, np.ones(len(space)))).eci
    dyadic = np.random.default_rng(1).integers(-(2**16), 2**16, len(space)) / 2**20
    icet = IcetExpansion(space, dyadic / scale)
    expansion = from_icet(icet)
    system = FCC_L12
    if len(expansion.basis) == 2:
        system = plain_system(
            name, ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
            tuple(map(tuple, expansion.primitive_cell.tolist())),
            tuple(map(tuple, expansion.basis.tolist())),
        )  # fmt: skip
    box = Supercell(system, (3, 2, 3))
    hamiltonian = ClusterHamiltonian.on(expansion, box)
    offsets = box.sites[: len(box.sites) // len(expansion.basis)]

    def energy(occupation):
        names = [expansion.species[b][k] for b, k in zip(box.basis, occupation, strict=True)]
        cell = np.diag(box.edges) @ box.ordered_cell
        atoms = occupied(icet, expansion, cell, offsets, names)
        return len(atoms) * icet.predict(atoms)

    occupation = np.random.default_rng(4).integers(0, 2, (1, len(box.sites))).astype(np.uint8)
    before = energy(occupation[0])
    tolerance = 1e-10 * len(box.sites)
    assert hamiltonian.energy(occupation)[0] == pytest.approx(before, abs=tolerance)
    for site in (0, 5, len(box.sites) // 2, len(box.sites) - 1):
        flipped = occupation[0].copy()
        flipped[site] ^= 1
        cost = hamiltonian.flip_cost(occupation, site)[0]
        assert cost == pytest.approx(energy(flipped) - before, abs=tolerance)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_point_functions_are_orthogonal_to_the_constant_and_to_each_other(count):
    phi = np.concatenate([np.ones((1, count)), point_functions(count)])
    gram = phi @ phi.T / count
    assert gram - np.diag(gram.diagonal()) == pytest.approx(0, abs=1e-14)
    assert (gram.diagonal() > 0.4).all()
    assert point_functions(2).tolist() == [[1.0, -1.0]]


def test_moves_and_ground_states_refuse_more_than_two_species():
    ternary = from_icet(icet_model("ternary fcc"))
    with pytest.raises(ValueError, match="`species` of the expansion must be two per site"):
        ClusterHamiltonian.on(ternary, Supercell(FCC_L12, 4))
    with pytest.raises(ValueError, match=r"`expansion\.species` must be the same two"):
        find_ground_states(ternary)
    with pytest.raises(ValueError, match=r"`expansion\.species` must be the same two"):
        find_ground_states(from_icet(icet_model("two pairs of species")))


def test_an_ordering_of_other_sites_or_species_is_refused():
    icet = icet_model("ternary fcc")
    ordering, _ = random_pair(icet, from_icet(icet), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"`orderings\[0\].occupation` must be below the number"):
        from_icet(icet_model("fcc, lighter first")).predict([ordering])
    with pytest.raises(ValueError, match=r"`orderings\[0\]` must have the 2 sites"):
        from_icet(icet_model("hcp")).predict([ordering])


def test_functions_in_a_file_must_exist_on_their_sites(tmp_path):
    path = tmp_path / "ternary.json"
    from_icet(icet_model("ternary fcc")).to_json(path)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "species": document["species"][:2]}))
    with pytest.raises(ValueError, match="functions` must be at least two below"):
        ClusterExpansion.from_json(path)
