"""Transients of known length and a real quench: what is dropped, and what cannot be saved."""

import numpy as np
import pytest
from boxes import Q
from chains import autoregressive

from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.equilibration import equilibration
from sampling.estimate import ergodic_mean
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell


def decay(rho, samples):
    """The mean of an autoregressive chain that starts at 1."""
    return rho ** np.arange(1, samples + 1)[:, None, None]


@pytest.mark.parametrize(("rho", "walkers"), [(0.0, 64), (0.8, 8), (0.95, 64)])
def test_stationary_chains_keep_all_their_records(rho, walkers):
    found = equilibration(autoregressive(rho, (120, 320, walkers)))
    assert found.reached.all()
    # Some twelve comparisons per chain, each beyond chance once in 10⁴.
    assert (found.drop > 0).mean() < 0.03


@pytest.mark.parametrize("rho", [0.8, 0.95])
def test_a_common_start_far_from_the_mean_is_dropped_and_the_mean_restored(rho):
    records = autoregressive(rho, (60, 640, 64)) + 20 * decay(rho, 640)
    found = equilibration(records)
    assert found.reached.all()
    memory = -1 / np.log(rho)
    assert (found.drop > memory).all()
    assert (found.drop <= 16 * memory).all()
    whole = ergodic_mean(records).mean
    kept = [
        ergodic_mean(chain[drop:]).mean for chain, drop in zip(records, found.drop, strict=True)
    ]
    z = np.array([mean.value[0] / mean.stderr[0] for mean in kept])
    assert (whole.value / whole.stderr).mean() > 4
    # What is left unseen is worth less than the error bar.
    assert abs(z.mean()) < 0.5
    assert z.std() < 1.3


def test_starts_on_either_side_of_the_mean_show_in_their_spread():
    """As from fractions drawn at random: no walker mean is off, the early variance is."""
    starts = 6 * np.random.default_rng(5).normal(size=(50, 1, 64, 1))
    found = equilibration(autoregressive(0.9, (50, 640, 64)) + starts * decay(0.9, 640))
    assert found.reached.all()
    assert (found.drop >= 10).all()


def test_a_drift_through_the_whole_run_is_not_equilibrated():
    drifting = equilibration(autoregressive(0.8, (20, 200, 64)) + 20 * decay(0.99, 200))
    assert not drifting.reached.any()
    assert (drifting.drop == 100).all()


def test_one_drifting_quantity_suffices():
    records = autoregressive(0.5, (1, 400, 64))
    both = np.concatenate([records, records[..., ::-1, :] + 10 * decay(0.9, 400)], -1)
    assert equilibration(records).drop == 0
    assert equilibration(both).drop > 0


def test_records_that_never_change_are_stationary():
    apart = np.broadcast_to(np.linspace(0.1, 0.7, 8)[:, None], (1, 50, 8, 1))
    assert equilibration(apart).drop == 0
    assert equilibration(apart).reached.all()


def test_two_records_cannot_show_that_one_is_enough():
    records = np.array([[0.0, 0.1, -0.1], [5.0, 5.1, 4.9]])[None, :, :, None]
    assert not equilibration(np.tile(records, (1, 1, 20, 1))).reached.any()


def quench(cells, **schedule):
    """Random starts put to 1000 K where order sets in, records from the first sweep on."""
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, cells))
    x = np.array([[0.57, 0.97, 0.02, 0.49]])
    umbrella = Umbrella(FCC_L12, x @ Q.T, np.ones((1, 4)))
    return sample(
        hamiltonian, umbrella, temperature=1000.0, schedule=Schedule(stride=2, **schedule), seed=3
    )


def test_a_quench_is_dropped_until_the_energy_agrees_with_an_equilibrated_run():
    fresh, long = quench(4, sweeps=800, burn_in=0), quench(4, sweeps=4000, burn_in=1000)
    records, reference = fresh.energy[..., None], ergodic_mean(long.energy[..., None]).mean
    found = equilibration(records)
    assert found.reached.all()

    def distance(first):
        mean = ergodic_mean(records[:, first:]).mean
        return (mean.value - reference.value) / np.hypot(mean.stderr, reference.stderr)

    assert distance(0) > 4
    assert abs(distance(int(found.drop[0]))) < 4
    assert equilibration(long.energy[..., None]).drop == 0


def test_a_quench_cut_short_is_not_equilibrated():
    assert not equilibration(quench(8, sweeps=12, burn_in=0).energy[..., None]).reached.any()
