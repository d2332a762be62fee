"""What a candidate is worth by one criterion, and batches that do not repeat."""

import pytest
import torch

from idnn.data import Derivatives
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential, hessian
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from sampling import acquire
from sampling.candidates import spread_over

RANGE = (0.02, 0.30)


class GivenCommittee(IntegrableNetwork):
    """A committee whose chemical potentials are stated, the same at every η."""

    def __init__(self, mu):
        super().__init__(FCC_L12, 1000.0, NetworkSettings(widths=(2,)), seeds=range(len(mu)))
        self.mu = mu

    def gradients(self, eta):
        return self.mu[:, None].expand(-1, len(eta), -1)


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


def test_a_batch_starts_at_the_maximum_and_does_not_repeat():
    eta = spread_over(FCC_L12, RANGE, 2000, seed=6)
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


def ordering_solution():
    """Bragg–Williams with attraction of unlike sublattices: unstable about x = 1/4."""
    return BraggWilliams(
        IdealMixing(FCC_L12.q, 2000.0), torch.tensor([0.9, -0.5, -0.5, -0.5], dtype=torch.float64)
    )


def test_wells_are_convex_states_of_small_slope():
    f, eta = ordering_solution(), spread_over(FCC_L12, RANGE, 3000, seed=8)
    slope = 0.3
    worth = acquire.well_likeness(f, eta, slope)
    level = torch.tensor([slope, 0, 0, 0], dtype=torch.float64)
    convex = torch.linalg.eigvalsh(hessian(f, eta)).amin(-1) > 0
    assert 0.01 < float(convex.double().mean()) < 0.99
    assert torch.equal(worth > -torch.inf, convex)
    off = (chemical_potential(f, eta) - level).norm(dim=-1).detach()
    torch.testing.assert_close(worth[convex], -off[convex])


def test_non_convexity_is_how_far_the_worst_direction_is_from_stable():
    f, eta = ordering_solution(), spread_over(FCC_L12, RANGE, 500, seed=8)
    # The one non-zero entry of each ∂²f/∂η² at x_s = 1/4: k_BT/x(1 − x)·4/4 + 2v.
    middle = torch.tensor([[0.25, 0, 0, 0]], dtype=torch.float64)
    kt = 8.617333262e-5 * 2000
    assert float(acquire.non_convexity(f, middle)) == pytest.approx(1.0 - kt * 16 / 3, rel=1e-9)
    unstable = acquire.non_convexity(f, eta) > 0
    assert torch.equal(unstable, torch.linalg.eigvalsh(hessian(f, eta)).amin(-1) < 0)


def test_images_of_a_known_point_are_not_new():
    known = spread_over(FCC_L12, RANGE, 20, seed=8)
    data = Derivatives(known, 0 * known, torch.ones_like(known))
    image = FCC_L12.images(known[3])[5]
    fresh = torch.tensor([0.9, 0.05, 0.0, 0.0], dtype=torch.float64)
    found = acquire.novelty(FCC_L12, data, torch.stack([image, fresh]))
    assert float(found[0]) < 1e-12
    h, seen = FCC_L12.invariants(fresh[None]), FCC_L12.invariants(known)
    assert float(found[1]) == pytest.approx(float((h - seen).norm(dim=-1).min()))


def test_a_negative_worth_is_refused_because_the_discount_would_raise_it():
    with pytest.raises(ValueError, match=r"`worth` must not be negative; its least is -1"):
        acquire.choose(torch.zeros(2, 4).double(), torch.tensor([1.0, -1.0]).double(), 1)
