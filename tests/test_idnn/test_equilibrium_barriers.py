"""Barriers between wells against closed forms; the lowest way is taken."""

import math
from dataclasses import dataclass
from itertools import permutations

import pytest
import torch
from references import DupinNickelAluminium
from scipy.optimize import brentq

from idnn.barriers import barrier, committee_barrier
from idnn.equilibrium import tie_lines
from idnn.free_energy import hessian
from idnn.network import IntegrableNetwork
from idnn.order_parameters import FCC_L12, System
from idnn.wells import wells

NICKEL_RICH = (0.0, 0.35)


def two_sublattices():
    """CsCl order on bcc: η₀ = ½(x₁ + x₂), η₁ = ½(x₁ − x₂)."""
    return System(
        name="two sublattices",
        q=torch.tensor([[1, 1], [1, -1]], dtype=torch.float64) / 2,
        group=torch.tensor(list(permutations(range(2)))),
        ordered_cell=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        prototypes={"A2": (0.5, 0.5), "B2": (1.0, 0.0)},
        primitive_cell=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    )


@dataclass(frozen=True)
class DoubleWell:
    """h(1 − (η₁/a)²)² + ½k(η₀ − ½ − b(1 − (η₁/a)²))²: wells at ±a, the way between them curved."""

    height: float
    bend: float

    def __call__(self, eta):
        rise = 1 - (eta[..., 1] / 0.3) ** 2
        aside = eta[..., 0] - 0.5 - self.bend * rise
        return self.height * rise**2 + aside**2


@pytest.mark.parametrize("bend", [0.0, 0.2])
def test_the_barrier_of_a_double_well_has_its_closed_form(bend):
    """The saddle is at η = (½ + b, 0), h above the wells."""
    system, f = two_sublattices(), DoubleWell(0.02, bend)
    (well,) = wells(f, system, 0.0)
    found = barrier(f, system, well, well)
    assert found.height == pytest.approx(0.02, abs=1e-10)
    torch.testing.assert_close(
        found.saddle, torch.tensor([0.5 + bend, 0.0], dtype=torch.float64), rtol=0, atol=1e-6
    )
    assert float(found.left.eta[1]) == pytest.approx(-float(found.right.eta[1]))


def test_of_two_ways_round_a_hill_the_lower_is_taken():
    """On η₁ = 0 both saddles are roots of a cubic; the straight way over the hill is no saddle."""

    def f(eta):
        x, y = eta[..., 1], eta[..., 0] - 0.5
        return 20 * (x**2 + y**2 - 0.09) ** 2 + 0.3 * y**2 + 0.02 * y

    def omega(y):
        return 20 * (y**2 - 0.09) ** 2 + 0.3 * y**2 + 0.02 * y

    def slope(y):
        return 80 * y * (y**2 - 0.09) + 0.6 * y + 0.02

    system = two_sublattices()
    (well,) = wells(f, system, 0.0)
    below, above = brentq(slope, -0.4, -0.2), brentq(slope, 0.2, 0.4)
    assert omega(below) < omega(above)
    found = barrier(f, system, well, well)
    assert float(found.saddle[0]) - 0.5 == pytest.approx(below, abs=1e-8)
    assert found.omega == pytest.approx(omega(below), abs=1e-12)


@pytest.fixture(scope="module")
def nickel_aluminium():
    f = DupinNickelAluminium(1273.0)
    (line,) = tie_lines(f, FCC_L12, composition=NICKEL_RICH)
    return f, line


def test_the_saddle_between_gamma_and_gamma_prime_has_index_one_and_joins_them(nickel_aluminium):
    f, line = nickel_aluminium
    found = barrier(f, FCC_L12, line.left, line.right)
    eigenvalues = torch.linalg.eigvalsh(hessian(f, found.saddle[None]))[0]
    assert (eigenvalues < 0).tolist() == [True, False, False, False]
    assert {well.phase for well in found.joins} == {"A1", "L1_2"}
    assert {round(float(well.eta[0]), 6) for well in found.joins} == {
        round(c, 6) for c in line.compositions
    }


def test_no_path_on_the_symmetric_line_is_lower(nickel_aluminium):
    """Along x = (a, a, a, b) of γ′: the lowest maximum over all ways of a 2D map bounds it."""
    f, line = nickel_aluminium
    found = barrier(f, FCC_L12, line.left, line.right)
    b = torch.linspace(0.156, 0.891, 800, dtype=torch.float64)
    a = torch.linspace(0.001, 0.3, 1200, dtype=torch.float64)
    x = torch.stack([*[a[None].expand(800, -1)] * 3, b[:, None].expand(-1, 1200)], -1)
    eta = FCC_L12.order_parameters(x)
    omega = f(eta) - line.mu * eta[..., 0]
    ridge = float(omega.amin(1).max()) - line.left.omega
    # The grid's spacing 2.5e-4 in a: ½ f″ Δa² of 1e-7.
    assert found.height == pytest.approx(ridge, abs=1e-6)


def test_variants_are_reached_through_the_disordered_solution(nickel_aluminium):
    """γ′ to γ′ over γ costs what γ to γ′ does; straight through L1₀ costs more."""
    f, line = nickel_aluminium
    between = barrier(f, FCC_L12, line.right, line.right)
    assert not torch.allclose(between.left.eta, between.right.eta, atol=1e-3)
    assert between.height == pytest.approx(
        barrier(f, FCC_L12, line.left, line.right).height, abs=1e-9
    )


def test_of_the_images_of_a_well_the_one_behind_the_lowest_saddle_is_reached():
    """Four wells: along η₀ the barrier is 0.01 eV, to the image across η₁ 0.03 eV."""

    def f(eta):
        along, across = (eta[..., 0] - 0.5) / 0.2, eta[..., 1] / 0.2
        return 0.01 * (1 - along**2) ** 2 + 0.03 * (1 - across**2) ** 2

    dilute, rich = sorted(wells(f, two_sublattices(), 0.0), key=lambda w: float(w.eta[0]))
    found = barrier(f, two_sublattices(), dilute, rich)
    assert found.height == pytest.approx(0.01, abs=1e-10)
    assert float(found.left.eta[1]) == pytest.approx(float(found.right.eta[1]), abs=1e-6)


def test_a_well_without_another_image_has_no_way_to_itself(nickel_aluminium):
    f, line = nickel_aluminium
    with pytest.raises(ValueError, match="`right` must differ from `left`"):
        barrier(f, FCC_L12, line.left, line.left)


def test_a_committee_states_the_spread_of_a_barrier(trained):
    nudged = IntegrableNetwork.gather([trained], [0]).requires_grad_(False)
    nudged.weights[-1].mul_(1.001)
    network = IntegrableNetwork.gather([trained, nudged], [0, 1]).requires_grad_(False)
    (line,) = tie_lines(network, FCC_L12, composition=NICKEL_RICH)
    mean = barrier(network, FCC_L12, line.left, line.right)
    sure = committee_barrier(network, line, mean)
    assert sure.missing == 0
    low, high = sorted(b.height for b in sure.members)
    assert low < mean.height < high
    assert sure.sigma() == pytest.approx(((high - low) / math.sqrt(2),))
    for member, found in zip((trained, nudged), sure.members, strict=True):
        (own,) = tie_lines(member, FCC_L12, composition=NICKEL_RICH)
        assert found.left.mu == pytest.approx(own.mu, abs=1e-9)
        assert found.height == pytest.approx(
            barrier(member, FCC_L12, own.left, own.right).height, abs=1e-9
        )
