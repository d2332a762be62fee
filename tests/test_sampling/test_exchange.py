"""Replica exchange against exact enumeration, and annealing against enumerated ground states."""

import re
from pathlib import Path

import numpy as np
import pytest
from boxes import LAYERS, all_states, boltzmann, expansion_from, ideal_gas, short_ranged

from idnn.order_parameters import FCC_L12
from sampling.chains import scattered
from sampling.clusters import illustrative_expansion
from sampling.energies import read_energies
from sampling.ensemble import Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.exchange import anneal, exchange
from sampling.fit import FitSettings, fit_expansion
from sampling.groundstates import find_ground_states
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.flips import Flips
from sampling.kernels.swaps import Swaps
from sampling.lattice import Supercell
from sampling.ordering import fcc

SMALL = ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, 2))
NEAREST = [orbit.clusters[..., :3] for orbit in short_ranged().orbits[1:2]]
FERROMAGNET = ClusterHamiltonian.on(expansion_from(NEAREST, [0.0, -0.02]), SMALL.supercell)


def fields(rows):
    return Umbrella.semi_grand(LAYERS, np.array(rows, dtype=float))


def assert_exact(samples, hamiltonian=SMALL):
    """Every condition has the exact ⟨η⟩, ⟨E⟩ and ⟨E²⟩, within 4σ."""
    for i, kelvin in enumerate(samples.temperature):
        one = samples.point(i)
        weight, energy, eta = boltzmann(hamiltonian, one.umbrella, kelvin, all_states(16))
        exact = weight @ np.column_stack([eta, energy / 16, (energy / 16) ** 2])
        energies = one.energy[..., None]
        found = ergodic_mean(np.concatenate([one.eta, energies, energies**2], -1))
        assert found.ergodic.all(), i
        assert (np.abs(found.mean.value[0] - exact) < 4 * found.mean.stderr[0]).all(), i


def test_every_condition_of_a_ladder_keeps_its_own_ensemble():
    umbrella = Umbrella(
        LAYERS,
        np.array([[0.2, 0.0], [0.25, 0.05], [0.3, 0.1], [0.4, 0.1]]),
        np.array([[1.0, 0.5], [0.8, 0.4], [0.6, 0.6], [0.3, 0.2]]),
        np.array([[0.0, 0.0], [0.0, 0.1], [0.0, 0.0], [-0.1, 0.0]]),
    )
    ladder = exchange(
        SMALL, umbrella, temperature=np.array([800.0, 950.0, 1150.0, 1400.0]), seed=3,
        schedule=Schedule(walkers=64, sweeps=700, burn_in=80, stride=1),
    )  # fmt: skip
    assert ((ladder.accepted > 0.02) & (ladder.accepted < 0.98)).all()
    assert_exact(ladder.samples)


HEATING = fields([[0.008, 0.0]] * 5), np.array([600.0, 800.0, 1100.0, 1600.0, 2300.0])
FLATTENING = (
    Umbrella(LAYERS, np.full((5, 2), 0.5), np.array([[0.0, 0.1, 0.2, 0.3, 0.35], [0.0] * 5]).T,
             np.tile([0.01, 0.0], (5, 1))),
    700.0,
)  # fmt: skip


@pytest.mark.parametrize(("umbrella", "kelvin"), [HEATING, FLATTENING], ids=["T", "umbrella"])
def test_a_bimodal_ensemble_that_single_walkers_get_wrong_is_right_under_exchange(umbrella, kelvin):
    # All empty or all filled, 13 to 1 at the first point, and no way between for single flips.
    schedule = Schedule(walkers=25, sweeps=2400, burn_in=80, stride=2)
    ladder = exchange(FERROMAGNET, umbrella, temperature=kelvin, schedule=schedule, seed=5, every=4)
    assert ladder.round_trips.sum() > 50
    assert_exact(ladder.samples, FERROMAGNET)

    coldest = float(ladder.samples.temperature[0])
    alone = sample(FERROMAGNET, umbrella[:1], temperature=coldest, schedule=schedule, seed=5)
    weight, _, eta = boltzmann(FERROMAGNET, umbrella[:1], coldest, all_states(16))
    assert abs(alone.eta[..., 0].mean() - weight @ eta[:, 0]) > 0.1
    assert not ergodic_mean(alone.eta).ergodic.all()


def test_replicas_march_up_and_down_a_ladder_of_equal_conditions():
    # All exchanges are accepted, odd and even pairs in turn: each of 5 replicas comes back to the
    # first point every 10 bursts. 100 bursts are ten tours of each, the first one of which a
    # replica that starts in the middle does not complete.
    box = ClusterHamiltonian.on(ideal_gas(), Supercell(LAYERS, 2))
    ladder = exchange(
        box, fields([[0.02, 0.0]] * 5), temperature=900.0, seed=0,
        schedule=Schedule(walkers=3, sweeps=200, burn_in=0, stride=1),
    )  # fmt: skip
    assert ladder.accepted == pytest.approx(np.ones(4))
    assert (ladder.round_trips >= 5 * 9).all()
    assert (ladder.round_trips <= 5 * 10).all()


def run(**changes):
    settings = {
        "temperature": np.array([450.0, 700.0, 1200.0, 2200.0]),
        "schedule": Schedule(walkers=5, sweeps=16, burn_in=0, stride=2),
        "seed": 2,
    }
    return exchange(SMALL, fields([[0.1, 0.0]] * 4), **(settings | changes))


def test_seeds_fix_a_ladder_and_threads_do_not_change_it():
    first = run(kernel=Flips())
    again = run(kernel=Flips(), threads=3)
    assert 0 < first.accepted.min() < 1
    assert (first.samples.eta == again.samples.eta).all()
    assert (first.round_trips == again.round_trips).all()
    other = run(kernel=Flips(), seed=4)
    assert (first.samples.eta != other.samples.eta).any()


def test_a_continued_ladder_is_the_uninterrupted_one():
    half = Schedule(walkers=5, sweeps=8, burn_in=0, stride=2)
    first = run(schedule=half)
    second = run(schedule=half, start=first.samples.chains)
    whole = run()
    eta = np.concatenate([first.samples.eta, second.samples.eta], 1)
    assert (eta == whole.samples.eta).all()
    assert (second.samples.chains.occupation == whole.samples.chains.occupation).all()
    assert (second.samples.chains.state == whole.samples.chains.state).all()


def test_exchange_with_swaps_keeps_every_composition():
    start = scattered(SMALL.supercell, np.tile([3, 2], (4, 1)), walkers=5, seed=1)
    ladder = run(kernel=Swaps(), start=start)
    assert (ladder.samples.eta[..., 0] == 5 / 16).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 1}, "`every` must be at least 2"),
        ({"every": 3}, "divide the 8 records per walker; it is 3"),
        ({"temperature": np.array([100.0, 200.0])}, "`temperature` must be one number or one per"),
    ],
)
def test_bad_ladders_are_refused(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run(**changes)


def test_one_point_is_no_ladder():
    with pytest.raises(ValueError, match="at least two points"):
        exchange(SMALL, fields([[0.0, 0.0]]), temperature=500.0, schedule=Schedule(), seed=0)


def illustrative():
    return illustrative_expansion()


def fitted(file, kind):
    """Of the energies shipped with the examples."""
    source = Path(__file__).parents[2] / "examples/ni_al" / file
    energies = read_energies(source, fcc(("Ni", "Al"), 3.57), kind=kind)
    return fit_expansion(energies, FitSettings(cutoffs=((5.1, 2.6, 2.6),))).expansion


def embedded_atom():
    return fitted("eam/energies.jsonl", None)


def first_principles():
    return fitted("dft/results.jsonl", "volume")


def fits(ordering, box):
    """Whether the box is a whole number of the ordering's cells."""
    cells = box.cells * box.ordered_cell @ np.linalg.inv(ordering.supercell)
    return np.allclose(cells, np.round(cells), atol=1e-9)


@pytest.mark.parametrize(
    ("expansion", "known"),
    [
        (illustrative, ["L1_2 Ni3Al", "L1_0 NiAl", "L1_2 NiAl3"]),
        (embedded_atom, ["Ni7Al", "L1_2 Ni3Al", "Ni5Al3", "L1_0 NiAl"]),
        (first_principles, ["L1_2 Ni3Al", "L1_0 NiAl"]),
    ],
)
def test_annealing_finds_the_enumerated_ground_states_from_random_starts(expansion, known):
    energies = expansion()
    states = find_ground_states(energies)
    box = Supercell(FCC_L12, 4)
    vertices = [v for v in states.vertices if states.names[v] in known]
    assert [states.names[v] for v in vertices] == known
    assert all(fits(states.orderings[v], box) for v in vertices)
    filled = [round(64 * states.fractions[v]) for v in vertices]
    hamiltonian = ClusterHamiltonian.on(energies, box)
    found = anneal(
        hamiltonian,
        Umbrella.semi_grand(FCC_L12, np.zeros((len(known), 4))),
        temperatures=np.geomspace(4000.0, 150.0, 24),
        sweeps=40,
        walkers=6,
        seed=7,
        start=scattered(box, np.tile(filled, (4, 1)).T, walkers=6, seed=3),
        kernel=Swaps(),
    )
    # Interactions are rounded to `quantum`, at most half of it per cluster.
    rounding = hamiltonian.quantum * sum(orbit.multiplicity for orbit in energies.orbits)
    assert found.energy.min(1) == pytest.approx(states.energies[vertices], abs=rounding)
    assert (box.filled(found.occupation).sum(-1) == 4 * np.array(filled)[:, None]).all()
    assert hamiltonian.energy(found.occupation[1]) / 256 == pytest.approx(found.energy[1])


def test_annealing_returns_the_lowest_biased_state_it_met_not_the_last_one():
    empty = np.zeros((1, 1, 16), np.uint8)
    heated = anneal(
        FERROMAGNET,
        fields([[-0.001, 0.0]]),
        temperatures=np.array([100.0, 30000.0]),
        sweeps=10,
        walkers=1,
        seed=1,
        start=1 - empty,
    )
    assert (heated.occupation == 1).all()
    assert heated.energy[0, 0] == pytest.approx(-6 * 0.02, abs=1e-8)
    assert heated.cost[0, 0] == pytest.approx(-6 * 0.02 + 0.001, abs=1e-8)


def test_bad_temperatures_are_refused():
    for bad, message in ((np.array([]), "is empty"), (np.array([300.0, 0.0]), "must be finite")):
        with pytest.raises(ValueError, match=f"`temperatures`.*{message}"):
            anneal(
                SMALL, fields([[0.0, 0.0]]), temperatures=bad, sweeps=4, walkers=1, seed=0
            )  # fmt: skip
