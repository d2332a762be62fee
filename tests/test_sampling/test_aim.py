"""The bias that aims at given order parameters."""

import numpy as np
import pytest
import torch
from boxes import LAYERS, expansion_from, ideal_gas, short_ranged

from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from sampling import aim, candidates
from sampling.clusters import illustrative_expansion
from sampling.cvm import ClusterVariation, NoHomogeneousState
from sampling.ensemble import Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.mean_field import MeanField

RANGE = (0.02, 0.30)
PHI = torch.tensor([3.0, 2.0, 2.0, 2.0], dtype=torch.float64)


@pytest.mark.parametrize(
    "f",
    [
        BraggWilliams(
            IdealMixing(FCC_L12.q, 1000.0),
            torch.tensor([0.3, -0.4, -0.4, -0.4], dtype=torch.float64),
        ),
        MeanField(illustrative_expansion(), FCC_L12, 1000.0),
        IntegrableNetwork(FCC_L12, 1000.0, NetworkSettings(widths=(4,)), seeds=(0, 1)),
    ],
    ids=["bragg-williams", "mean field", "network"],
)
def test_the_biased_free_energy_is_stationary_at_the_target(f):
    eta = candidates.spread_over(FCC_L12, RANGE, 40, seed=9)
    kappa = aim.bias_centre(f, eta, PHI)
    force = chemical_potential(f, eta).detach() + 2 * PHI * (eta - kappa)
    torch.testing.assert_close(force, torch.zeros_like(force), rtol=0, atol=1e-12)
    assert not kappa.requires_grad


def test_a_bias_aimed_with_the_true_free_energy_brings_the_sampled_mean_to_the_target():
    box = Supercell(FCC_L12, 3)
    eta = candidates.spread_over(FCC_L12, (0.1, 0.3), 8, seed=10)
    kappa = aim.bias_centre(IdealMixing(FCC_L12.q, 1000.0), eta, PHI)
    samples = sample(
        ClusterHamiltonian.on(ideal_gas(), box),
        Umbrella(FCC_L12, kappa.numpy(), np.tile(PHI.numpy(), (8, 1))),
        temperature=1000.0,
        schedule=Schedule(walkers=8, sweeps=400, burn_in=50),
        seed=1,
    )
    mean = samples.eta.mean((1, 2))
    stderr = samples.eta.mean(1).std(1, ddof=1) / 8**0.5
    # N = 108 sites: the mean of a finite box differs from the minimum by O(1/N).
    np.testing.assert_array_less(np.abs(mean - eta.numpy()), 4 * stderr + 1 / 108)
    assert np.abs(mean - kappa.numpy()).max() > 0.02


def strong():
    """Nearest-neighbour interactions of nickel and aluminium from first principles (eV)."""
    near = [illustrative_expansion().orbits[i].clusters[..., :3] for i in (1, 5, 6)]
    return expansion_from(near, [0.0, 0.0707, 0.0119, -0.0235])


def test_the_first_bias_is_the_cluster_variation_methods_where_that_has_a_state():
    eta = candidates.spread_over(FCC_L12, (0.0, 1.0), 60, seed=3)
    f = ClusterVariation(strong(), 1000.0)
    with pytest.raises(NoHomogeneousState) as error:
        f(eta)
    missing = error.value.missing
    found = aim.first_bias_centre(strong(), FCC_L12, 1000.0, eta, PHI)
    mean_field = aim.bias_centre(MeanField(strong(), FCC_L12, 1000.0), eta, PHI)
    assert 0 < missing.sum() < 60
    assert torch.equal(found[missing], mean_field[missing])
    assert torch.equal(found[~missing], aim.bias_centre(f, eta[~missing], PHI))


def test_the_first_bias_on_other_lattices_is_that_of_the_mean_field():
    eta, phi = torch.tensor([[0.3, 0.1]], dtype=torch.float64), PHI[:2]
    found = aim.first_bias_centre(short_ranged(), LAYERS, 800.0, eta, phi)
    assert torch.equal(found, aim.bias_centre(MeanField(short_ranged(), LAYERS, 800.0), eta, phi))


def test_the_first_bias_brings_the_sampled_mean_nearer_than_that_of_the_mean_field():
    """Root mean square distances of 108 sites; in η, measured 0.007 and 0.032."""
    eta = candidates.along_prototypes(FCC_L12, (0.05, 0.3), 16, seed=11)
    eta = candidates.with_something_to_see(FCC_L12, eta, 100_000)
    hamiltonian = ClusterHamiltonian.on(strong(), Supercell(FCC_L12, 3))

    def off(kappa):
        samples = sample(
            hamiltonian,
            Umbrella(FCC_L12, kappa.numpy(), np.tile(PHI.numpy(), (16, 1))),
            temperature=1000.0,
            schedule=Schedule(walkers=8, sweeps=400, burn_in=200),
            seed=1,
        )
        return np.linalg.norm(samples.eta.mean((1, 2)) - eta.numpy(), axis=1)

    guessed = off(aim.first_bias_centre(strong(), FCC_L12, 1000.0, eta, PHI))
    plain = off(aim.bias_centre(MeanField(strong(), FCC_L12, 1000.0), eta, PHI))
    assert np.sqrt((guessed**2).mean()) < np.sqrt((plain**2).mean()) / 2
