"""Candidates, what they are worth, batches that do not repeat, and the bias that aims at them."""

import numpy as np
import pytest
import torch
from boxes import LAYERS, expansion_from, ideal_gas, short_ranged

from idnn.data import Derivatives
from idnn.equilibrium import TieLine, TieLineEstimate
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.wells import Well
from sampling import acquire
from sampling.clusters import illustrative_expansion
from sampling.cvm import ClusterVariation, NoHomogeneousState
from sampling.ensemble import Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.mean_field import MeanField

RANGE = (0.02, 0.30)
PHI = torch.tensor([3.0, 2.0, 2.0, 2.0], dtype=torch.float64)


class GivenCommittee(IntegrableNetwork):
    """A committee whose chemical potentials are stated, the same at every η."""

    def __init__(self, mu):
        super().__init__(FCC_L12, 1000.0, NetworkSettings(widths=(2,)), seeds=range(len(mu)))
        self.mu = mu

    def gradients(self, eta):
        return self.mu[:, None].expand(-1, len(eta), -1)


WIDEST = acquire.SCATTER[1]


def tie_line(left, right, order=0.2):
    def well(x, order):
        eta = torch.tensor([x, order, order, order], dtype=torch.float64)
        return Well("A1" if order == 0 else "L1_2", eta, 0.0, -1.0, 0.1)

    return TieLine(well(left, 0.0), well(right, order))


def same(sigma):
    return torch.full((1, 4), sigma, dtype=torch.float64)


def estimate(ends, missing=0):
    lines = tuple(tie_line(left, right) for left, right in ends)
    return TieLineEstimate(tie_line(0.12, 0.23), lines, missing)


def fractions(eta):
    return FCC_L12.site_fractions(eta)


@pytest.mark.parametrize("composition", [RANGE, (0.0, 0.02), (0.4, 0.6), (0.97, 1.0)])
def test_spread_points_are_admissible_and_within_the_range(composition):
    eta = acquire.spread_over(FCC_L12, composition, 300, seed=1)
    x = fractions(eta)
    assert eta.shape == (300, 4)
    assert float(x.min()) >= acquire.MARGIN - 1e-12
    assert float(x.max()) <= 1 - acquire.MARGIN + 1e-12
    low, high = composition
    assert ((eta[:, 0] >= low - 1e-12) & (eta[:, 0] <= high + 1e-12)).all()


def test_spread_points_are_uniform_in_the_polytope():
    # Below x = 1/4 the range cuts a simplex off the cube: ⟨x_s⟩ = high/(d + 1) · d, all s alike.
    x = fractions(acquire.spread_over(FCC_L12, (0.0, 0.2), 4000, seed=2))
    expected = (4 * 0.2 - 4 * acquire.MARGIN) / 5 + acquire.MARGIN
    torch.testing.assert_close(x.mean(0), torch.full_like(x[0], expected), rtol=0, atol=2e-3)
    assert float(x.max()) > 0.65


def test_points_along_prototypes_scatter_about_lines_within_the_range():
    eta = acquire.along_prototypes(FCC_L12, RANGE, 2000, seed=3)
    x = fractions(eta)
    assert float(x.min()) >= acquire.MARGIN - 1e-12
    assert float(x.max()) <= 1 - acquire.MARGIN + 1e-12
    # The composition is a mean of four scattered fractions; folding at 0 adds up to √(2/π) of it.
    overshoot = WIDEST * (0.8 + 4 / 2)
    assert float(eta[:, 0].max()) <= RANGE[1] + overshoot
    assert float(((eta[:, 0] < RANGE[0]) | (eta[:, 0] > RANGE[1])).double().mean()) < 0.1


def test_points_along_prototypes_reach_order_that_uniform_draws_hardly_reach():
    def share_ordered(eta):
        """Of L1₂ states: three sublattices alike and the fourth far richer."""
        x = fractions(eta).sort(-1).values
        alike = x[:, :3].std(-1) < WIDEST
        return float((alike & (x[:, 3] - x[:, :3].mean(-1) > 0.4)).double().mean())

    lines = share_ordered(acquire.along_prototypes(FCC_L12, RANGE, 2000, seed=3))
    assert lines > 3 * share_ordered(acquire.spread_over(FCC_L12, RANGE, 2000, seed=3))


def test_scatter_is_folded_back_at_full_order_and_not_piled_up():
    eta = acquire.near_tie_line(FCC_L12, tie_line(0.05, 0.249, order=0.249), 2000, seed=4)
    x = fractions(eta)
    assert len(eta.unique(dim=0)) > 1980
    # arcsin √MARGIN = 0.007 is 2.4 to 0.24 σ: a third of the points at a wall keep to the margin.
    assert 0 < float((x.amax(-1) >= 1 - acquire.MARGIN - 1e-9).double().mean()) < 0.2
    assert float((x[:, 1] <= acquire.MARGIN + 1e-9).double().mean()) < 0.4


def test_points_near_a_tie_line_cover_both_ends_and_the_way_between():
    line = tie_line(0.12, 0.23)
    eta = acquire.near_tie_line(FCC_L12, line, 3000, seed=5)
    distance = [(eta - end.eta).norm(dim=-1) for end in (line.left, line.right)]
    near = [float((d < 3 * WIDEST / 2).double().mean()) for d in distance]
    assert min(near) > 0.25
    assert sum(near) < 0.8
    assert FCC_L12.admissible(eta).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: acquire.spread_over(FCC_L12, RANGE, 50, seed),
        lambda seed: acquire.along_prototypes(FCC_L12, RANGE, 50, seed),
        lambda seed: acquire.near_tie_line(FCC_L12, tie_line(0.1, 0.2), 50, seed),
    ],
)
def test_a_seed_gives_the_same_points_and_another_seed_others(draw):
    state = torch.get_rng_state()
    assert torch.equal(draw(7), draw(7))
    assert not torch.equal(draw(7), draw(8))
    assert torch.equal(torch.get_rng_state(), state)


def test_disagreement_is_the_variance_of_mu_that_a_measurement_removes():
    mu = torch.tensor([[0.1, 0.0, 0.0, 0.0], [-0.1, 0.0, 0.0, 0.0]], dtype=torch.float64)
    eta = torch.zeros(3, 4, dtype=torch.float64)
    sigma = torch.tensor([1e-9, 0.02**0.5, 1e3], dtype=torch.float64)[:, None].expand(3, 4)
    found = acquire.disagreement(GivenCommittee(mu), eta, sigma)
    # Variance of ±0.1 with n − 1 is 0.02, averaged with three zeros: all, half, nothing of it.
    expected = torch.tensor([0.02 / 4, 0.01 / 4, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-6)


def test_the_error_expected_is_that_of_the_nearest_point_or_of_one_equivalent_by_symmetry():
    x = torch.tensor([[0.9, 0.02, 0.02, 0.02], [0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    sigma = torch.tensor([[1e-3], [5e-2]], dtype=torch.float64).expand(2, 4)
    eta = FCC_L12.order_parameters(x)
    known = Derivatives(eta, torch.zeros_like(eta), sigma)
    candidates = torch.tensor(
        [[0.02, 0.02, 0.88, 0.03], [0.12, 0.08, 0.1, 0.1], [0.88, 0.03, 0.02, 0.02]],
        dtype=torch.float64,
    )
    found = acquire.expected_error(FCC_L12, known, FCC_L12.order_parameters(candidates))
    expected = torch.tensor([[1e-3], [5e-2], [1e-3]], dtype=torch.float64).expand(3, 4)
    torch.testing.assert_close(found, expected)


def test_no_point_asks_for_a_sublattice_that_shows_next_to_nothing():
    x = torch.tensor([[1e-4, 0.3, 0.9999, 0.5], [0.02, 0.3, 0.9, 0.5]], dtype=torch.float64)
    eta = FCC_L12.order_parameters(x)
    found = FCC_L12.site_fractions(acquire.with_something_to_see(FCC_L12, eta, 3000))
    expected = torch.tensor([[0.01, 0.3, 0.99, 0.5], [0.02, 0.3, 0.9, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_points_about_a_line_scatter_as_an_ideal_solution_fluctuates():
    """σ(x) = 2w√(x(1 − x)): alike in arcsin √x, each point with a width w of its own."""
    line = tie_line(0.1, 0.2)
    ends = FCC_L12.site_fractions(torch.stack([line.left.eta, line.right.eta]))
    x = FCC_L12.site_fractions(acquire.near_tie_line(FCC_L12, line, 30_000, 3))
    assert ((x > acquire.MARGIN - 1e-12) & (x < 1 - acquire.MARGIN + 1e-12)).all()
    at_an_end = x[torch.arange(30_000) % 3 != 0]
    for end in ends:
        mine = at_an_end[(at_an_end - end).norm(dim=-1) < 0.2]
        off = mine.sqrt().arcsin() - end.clamp(0, 1).sqrt().arcsin()
        assert 9_000 < len(mine) < 11_000
        # ⟨w²⟩ of a log-uniform width; its own spread makes 4σ of 10,000 numbers 6 %.
        least, most = acquire.SCATTER
        width = ((most**2 - least**2) / (2 * np.log(most / least))) ** 0.5
        assert off[:, 0].std().item() == pytest.approx(width, rel=0.06)


def test_the_gain_is_the_share_of_variance_that_a_gaussian_update_removes():
    half = 3**0.5 / 2
    z = half * torch.tensor([1.0, 1, -1, -1], dtype=torch.float64)
    w = half * torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    a, b, sigma = 0.02, 0.03, 0.01
    mu = torch.stack([a * z, b * w, a * z + b * w, 0 * z], -1)
    ends = torch.stack([0.12 + 0.01 * z, 0.23 + 0.003 * w], -1).tolist()
    gain = acquire.tie_line_gain(
        GivenCommittee(mu),
        estimate(ends),
        torch.zeros(2, 4, dtype=torch.float64),
        same(sigma).expand(2, 4),
    )
    # Measured y = ∂f/∂η_i + noise; for T = cz the posterior loses cov(T, y)²/(var T · var y).
    left = a**2 / (a**2 + sigma**2) + a**2 / (a**2 + b**2 + sigma**2)
    right = b**2 / (b**2 + sigma**2) + b**2 / (a**2 + b**2 + sigma**2)
    expected = torch.full((2,), left + right, dtype=torch.float64)
    torch.testing.assert_close(gain, expected, rtol=1e-10, atol=0)


def test_a_perfect_measurement_of_the_one_unknown_removes_all_variance():
    z = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    mu = torch.stack([0.1 * z, 0 * z, 0 * z, 0 * z], -1)
    ends = torch.stack([0.1 + 0.01 * z, 0.2 - 0.02 * z], -1).tolist()
    point = torch.zeros(1, 4, dtype=torch.float64)
    gain = [
        acquire.tie_line_gain(GivenCommittee(mu), estimate(ends), point, same(sigma)).item()
        for sigma in (1e-9, 0.1, 1e3)
    ]
    # Each of both ends: all, half (σ equals the committee's spread of μ), nothing.
    assert gain == pytest.approx([2.0, 1.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    "unknown", [estimate([(0.1, 0.2), (0.11, 0.2)], missing=1), estimate([(0.1, 0.2)])]
)
def test_there_is_no_gain_where_members_do_not_agree_on_a_tie_line(unknown):
    mu = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gain = acquire.tie_line_gain(
        GivenCommittee(mu), unknown, torch.zeros(5, 4, dtype=torch.float64), same(0.01).expand(5, 4)
    )
    assert not gain.any()


def test_a_batch_starts_at_the_maximum_and_does_not_repeat():
    eta = acquire.spread_over(FCC_L12, RANGE, 2000, seed=6)
    worth = (-(eta - eta[17]).square().sum(-1) / 0.02).exp()
    chosen = acquire.choose(eta, worth, 30)
    assert int(chosen[0]) == 17
    assert len(chosen.unique()) == 30

    def closest(rows):
        return float(torch.pdist(eta[rows]).min())

    assert closest(chosen) > 2 * closest(worth.topk(30).indices)
    assert float(worth[chosen].mean()) > 3 * float(worth.mean())


def test_the_second_choice_follows_the_stated_discount():
    r = acquire.REACH
    eta = torch.zeros(3, 4, dtype=torch.float64)
    eta[1, 1], eta[2, 1] = r, 3 * r
    # 1 − exp(−1/2) = 0.393 and 1 − exp(−9/2) = 0.989.
    worth = torch.tensor([1.0, 0.9, 0.36], dtype=torch.float64)
    assert acquire.choose(eta, worth, 3).tolist() == [0, 2, 1]
    worth[2] = 0.35
    assert acquire.choose(eta, worth, 3).tolist() == [0, 1, 2]


def test_copies_of_one_candidate_are_chosen_once_each():
    eta = torch.zeros(4, 4, dtype=torch.float64)
    assert sorted(acquire.choose(eta, torch.ones(4).double(), 4).tolist()) == [0, 1, 2, 3]
    assert acquire.choose(eta, torch.ones(4).double(), 0).shape == (0,)
    with pytest.raises(ValueError, match="`count` must not exceed the 4 candidates; it is 5"):
        acquire.choose(eta, torch.ones(4).double(), 5)


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
    eta = acquire.spread_over(FCC_L12, RANGE, 40, seed=9)
    kappa = acquire.bias_centre(f, eta, PHI)
    force = chemical_potential(f, eta).detach() + 2 * PHI * (eta - kappa)
    torch.testing.assert_close(force, torch.zeros_like(force), rtol=0, atol=1e-12)
    assert not kappa.requires_grad


def test_a_bias_aimed_with_the_true_free_energy_brings_the_sampled_mean_to_the_target():
    box = Supercell(FCC_L12, 3)
    eta = acquire.spread_over(FCC_L12, (0.1, 0.3), 8, seed=10)
    kappa = acquire.bias_centre(IdealMixing(FCC_L12.q, 1000.0), eta, PHI)
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
    eta = acquire.spread_over(FCC_L12, (0.0, 1.0), 60, seed=3)
    f = ClusterVariation(strong(), 1000.0)
    with pytest.raises(NoHomogeneousState) as error:
        f(eta)
    missing = error.value.missing
    found = acquire.first_bias_centre(strong(), FCC_L12, 1000.0, eta, PHI)
    mean_field = acquire.bias_centre(MeanField(strong(), FCC_L12, 1000.0), eta, PHI)
    assert 0 < missing.sum() < 60
    assert torch.equal(found[missing], mean_field[missing])
    assert torch.equal(found[~missing], acquire.bias_centre(f, eta[~missing], PHI))


def test_the_first_bias_on_other_lattices_is_that_of_the_mean_field():
    eta, phi = torch.tensor([[0.3, 0.1]], dtype=torch.float64), PHI[:2]
    found = acquire.first_bias_centre(short_ranged(), LAYERS, 800.0, eta, phi)
    assert torch.equal(
        found, acquire.bias_centre(MeanField(short_ranged(), LAYERS, 800.0), eta, phi)
    )


def test_the_first_bias_brings_the_sampled_mean_nearer_than_that_of_the_mean_field():
    """Root mean square distances of 108 sites; in η, measured 0.007 and 0.032."""
    eta = acquire.along_prototypes(FCC_L12, (0.05, 0.3), 16, seed=11)
    eta = acquire.with_something_to_see(FCC_L12, eta, 100_000)
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

    guessed = off(acquire.first_bias_centre(strong(), FCC_L12, 1000.0, eta, PHI))
    plain = off(acquire.bias_centre(MeanField(strong(), FCC_L12, 1000.0), eta, PHI))
    assert np.sqrt((guessed**2).mean()) < np.sqrt((plain**2).mean()) / 2
