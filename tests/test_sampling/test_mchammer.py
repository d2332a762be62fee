"""Averages of the Ni–Al expansions against mchammer, an independent Monte Carlo code."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from icet import ClusterExpansion as IcetExpansion
from mchammer.calculators import ClusterExpansionCalculator
from mchammer.ensembles import SemiGrandCanonicalEnsemble, VCSGCEnsemble

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import cluster_space, illustrative_expansion, quiet_spglib
from sampling.energies import read_energies
from sampling.ensemble import Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.fit import FitSettings, fit_expansion
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.ordering import fcc

pytestmark = pytest.mark.filterwarnings(
    "ignore:The inplace keyword"
)  # Of mchammer's use of pandas.

CUTOFFS = (5.1, 2.6, 2.6)
BOX = Supercell(FCC_L12, 3)
SITES = len(BOX.sites)
RUNS = 6
NICKEL = np.zeros(SITES, dtype=np.uint8)
L12 = (BOX.sublattice == 0).astype(np.uint8)


@cache
def expansion(name):
    if name == "illustrative":
        return illustrative_expansion()
    file = Path(__file__).parents[2] / "examples/ni_al/eam/energies.jsonl"
    energies = read_energies(file, fcc(("Ni", "Al"), 3.57))
    return fit_expansion(energies, FitSettings(cutoffs=(CUTOFFS,), ridges=(0.1,))).expansion


@cache
def theirs(name):
    """The same expansion in icet, whose parameters are J times multiplicity."""
    ours = expansion(name)
    multiplicity = [1, *(orbit.multiplicity for orbit in ours.orbits)]
    lattice = fcc(ours.species[0], np.sqrt(2) * np.linalg.norm(ours.primitive_cell[0]))
    return IcetExpansion(cluster_space(lattice, CUTOFFS), ours.eci * multiplicity)


def crystal(name, occupation):
    cell = expansion(name).primitive_cell
    return Atoms(
        np.array(expansion(name).species[0])[occupation],
        positions=BOX.sites @ cell,
        cell=BOX.cells * BOX.ordered_cell @ cell,
        pbc=True,
    )


def their_averages(name, ensemble, occupation, kelvin, sweeps, **conditions):
    """Records [x, E/N], and the acceptance, of independent runs; the first fifth left out."""
    records, accepted = [], []
    atoms = crystal(name, occupation)
    with quiet_spglib():
        calculator = ClusterExpansionCalculator(atoms, theirs(name))
    for seed in range(RUNS):
        run = ensemble(
            atoms, calculator, temperature=kelvin, random_seed=seed,
            boltzmann_constant=BOLTZMANN_EV, trajectory_write_interval=10**9,
            ensemble_data_write_interval=2 * SITES, **conditions,
        )  # fmt: skip
        run.run(sweeps * SITES)
        settled = run.data_container.data.iloc[sweeps // 10 :]
        records.append(settled[["Al_count", "potential"]].to_numpy(float) / SITES)
        accepted.append(settled["acceptance_ratio"].mean())
    return np.stack(records, 1), np.array(accepted)


def our_averages(name, umbrella, occupation, kelvin):
    """The same of ours; acceptance counts burn-in, so the start is forgotten in a run before."""
    hamiltonian = ClusterHamiltonian.on(expansion(name), BOX)

    def run(start, sweeps):
        schedule = Schedule(walkers=64, sweeps=sweeps, burn_in=0, stride=2)
        return sample(
            hamiltonian, umbrella, temperature=kelvin, schedule=schedule, seed=1, start=start
        )

    samples = run(run(np.tile(occupation, (1, 64, 1)), 300).chains, 3000)
    records = np.stack([samples.eta[0, ..., 0], samples.energy[0]], -1)
    return records, samples.acceptance


def assert_equal_averages(ours, theirs):
    (our_records, our_acceptance), (their_records, their_acceptance) = ours, theirs
    mine, other = ergodic_mean(our_records), ergodic_mean(their_records)
    assert mine.ergodic.all()
    assert other.ergodic.all()
    sigma = np.hypot(mine.mean.stderr, other.mean.stderr)
    assert (np.abs(mine.mean.value - other.mean.value) < 4 * sigma).all()
    error = their_acceptance.std(ddof=1) / np.sqrt(RUNS)
    assert abs(our_acceptance[0] - their_acceptance.mean()) < 4 * error


@pytest.mark.parametrize(
    ("name", "filled", "kelvin", "field"),
    [
        ("illustrative", L12, 1000.0, -0.4),
        ("embedded atom", L12, 1400.0, -0.6),
        pytest.param("illustrative", NICKEL, 1600.0, -0.8, marks=pytest.mark.slow),
    ],
)
def test_semi_grand_averages_are_those_of_mchammer(name, filled, kelvin, field):
    umbrella = Umbrella.semi_grand(FCC_L12, np.array([[field, 0.0, 0.0, 0.0]]))
    assert_equal_averages(
        our_averages(name, umbrella, filled, kelvin),
        their_averages(
            name, SemiGrandCanonicalEnsemble, filled, kelvin, 600,
            chemical_potentials={"Ni": 0.0, "Al": field},
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("filled", "kelvin", "phi", "kappa", "sweeps"),
    [
        (NICKEL, 2200.0, -0.2, 20.0, 300),
        pytest.param(L12, 1000.0, -0.44, 60.0, 2000, marks=pytest.mark.slow),
    ],
)
def test_variance_constrained_averages_are_those_of_mchammer(filled, kelvin, phi, kappa, sweeps):
    name, free = "illustrative", [0.0, 0.0, 0.0]
    umbrella = Umbrella(
        FCC_L12,
        np.array([[-phi / 2, *free]]),
        np.array([[BOLTZMANN_EV * kelvin * kappa, *free]]),
    )
    assert_equal_averages(
        our_averages(name, umbrella, filled, kelvin),
        their_averages(
            name, VCSGCEnsemble, filled, kelvin, sweeps, phis={"Al": phi}, kappa=kappa
        ),
    )  # fmt: skip
