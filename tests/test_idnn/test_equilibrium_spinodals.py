"""Limits of stability against closed forms; driving forces against the regular solution's."""

import math
from dataclasses import dataclass

import pytest
import torch
from references import DupinNickelAluminium
from scipy.optimize import brentq

from idnn.driving_force import committee_driving_force, driving_force
from idnn.estimates import Committee
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential, hessian
from idnn.network import IntegrableNetwork
from idnn.order_parameters import FCC_L12
from idnn.spinodals import branch, committee_branch, committee_ordering, ordering_intervals
from idnn.units import BOLTZMANN_EV
from idnn.wells import wells

THERMAL = BOLTZMANN_EV * 1000.0


def bragg_williams(*interaction):
    v = torch.tensor(interaction, dtype=torch.float64)
    return BraggWilliams(IdealMixing(FCC_L12.q, 1000.0), v)


def disordered(composition):
    return torch.tensor([composition, 0.0, 0.0, 0.0], dtype=torch.float64)


def test_the_disordered_solution_is_unstable_to_ordering_between_two_compositions():
    """Where x(1 − x) > kT/(−2v)."""
    f = bragg_williams(1.4, -0.3, -0.3, -0.3)
    edge = (1 - math.sqrt(1 - 4 * THERMAL / 0.6)) / 2
    (unstable,) = ordering_intervals(f, composition=(0.0, 1.0), dimension=4)
    # Bisection of an interval of 1/400 forty times.
    assert unstable.numbers == pytest.approx((edge, 1 - edge), abs=1e-12)
    assert unstable.open == (False, False)
    (cut,) = ordering_intervals(f, composition=(0.0, 0.5), dimension=4)
    assert cut.low == pytest.approx(edge, abs=1e-12)
    assert cut.open == (False, True)


def test_the_chemical_spinodal_of_a_regular_solution_has_its_closed_form():
    """d²f/dx² = kT/(x(1 − x)) − 2w = 0."""
    f = bragg_williams(-2.6 * THERMAL, 0.0, 0.0, 0.0)
    (well, *_) = wells(f, FCC_L12, -2.7 * THERMAL)
    line = branch(f, FCC_L12, well, composition=(0.0, 1.0))
    edge = (1 - math.sqrt(1 - 4 / 5.2)) / 2
    (unstable,) = line.unstable
    assert unstable.numbers == pytest.approx((edge, 1 - edge), abs=1e-9)
    assert line.ends == (False, False)
    assert float(line.eta[0, 0]) < 1e-3
    assert float(line.eta[-1, 0]) > 1 - 1e-3


@pytest.fixture(scope="module")
def gamma_prime():
    """The branch of γ′ in nickel-aluminium at 1273 K."""
    f = DupinNickelAluminium(1273.0)
    (well,) = [w for w in wells(f, FCC_L12, -1.2945665773) if w.phase == "L1_2"]
    line = branch(f, FCC_L12, well, composition=(0.15, 0.45))
    return f, well, line


def test_a_branch_of_wells_is_stable_exactly_where_its_own_curvature_is_positive(gamma_prime):
    _, _, line = gamma_prime
    assert ((line.curvature > 0) == (line.stiffness > 0)).all()
    # Centred differences away from the peak at Ni₃Al: f⁗ h²/6 below 1 %.
    step = line.eta[:, 0].diff()
    even = ((step[1:] - step[:-1]).abs() < 1e-12) & (line.eta[1:-1, 0] > 0.3)
    second = (line.mu[2:] - line.mu[:-2]) / (line.eta[2:, 0] - line.eta[:-2, 0])
    torch.testing.assert_close(line.curvature[1:-1][even], second[even], rtol=0.01, atol=0)


def test_a_branch_ends_where_its_order_becomes_unstable(gamma_prime):
    """Towards nickel in a fold, towards L1₀ by symmetry: ∂²f/∂η₁..² loses its last eigenvalue."""
    f, well, line = gamma_prime
    assert line.ends == (True, True)
    softest = torch.linalg.eigvalsh(hessian(f, line.eta)[:, 1:, 1:])[:, 0]
    assert (softest > 0).all()
    # At a fold it vanishes with the square root of the distance, elsewhere linearly.
    assert float(softest[0]) < 0.1 * float(softest.max())
    assert float(softest[-1]) < 1e-3
    assert {FCC_L12.phase_name(eta) for eta in line.eta} == {"L1_2"}
    # Within it lies the chemical spinodal, down to the fold.
    (unstable,) = line.unstable
    assert unstable.open == (True, False)
    assert 0.18 < unstable.high < well.eta[0]


def test_the_driving_force_of_a_regular_solution_has_its_closed_form():
    w = 2.6 * THERMAL
    f = bragg_williams(-w, 0.0, 0.0, 0.0)

    def value(x):
        return THERMAL * (x * math.log(x) + (1 - x) * math.log(1 - x)) - w * x * x

    def slope(x):
        return THERMAL * math.log(x / (1 - x)) - 2 * w * x

    nucleus = brentq(lambda x: slope(x) - slope(0.16), 0.7, 0.999, xtol=1e-14)
    expected = value(0.16) + slope(0.16) * (nucleus - 0.16) - value(nucleus)
    found = driving_force(f, FCC_L12, disordered(0.16), "A1")
    assert found is not None
    assert float(found.nucleus.eta[0]) == pytest.approx(nucleus, abs=1e-9)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert expected > 0


def test_a_driving_force_vanishes_on_the_tie_line_and_grows_with_supersaturation():
    f = DupinNickelAluminium(1273.0)
    forces = [driving_force(f, FCC_L12, disordered(c), "L1_2") for c in (0.1560141, 0.165, 0.175)]
    values = [force.value for force in forces if force is not None]
    # The composition of γ is given to 1e-7, ∂ω/∂x of order 0.3 eV times Δx of 0.07.
    assert values[0] == pytest.approx(0, abs=1e-8)
    assert 0 < values[1] < values[2]


def test_a_phase_without_a_well_has_no_driving_force():
    f = bragg_williams(0.0, 0.0, 0.0, 0.0)
    assert driving_force(f, FCC_L12, disordered(0.3), "L1_2") is None


def test_a_driving_force_is_refused_where_it_has_no_meaning():
    f = bragg_williams(0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"`phase` must be one of .*'D0_22'"):
        driving_force(f, FCC_L12, disordered(0.3), "D0_22")
    for composition in (0.0, math.nan):
        with pytest.raises(ValueError, match=r"`matrix\[0\]` must lie"):
            driving_force(f, FCC_L12, disordered(composition), "L1_2")


@dataclass(frozen=True)
class TwoAlloys(Committee):
    """A committee of two Bragg-Williams alloys, v times 0.99 and 1.01; their mean has v itself."""

    interaction: tuple[float, float, float, float]
    system = FCC_L12
    members = 2

    def member(self, index):
        return bragg_williams(*(v * (0.99, 1.01)[index] for v in self.interaction))

    def values(self, eta):
        return torch.stack([self.member(i)(eta) for i in range(2)])

    def gradients(self, eta):
        return torch.stack([chemical_potential(self.member(i), eta) for i in range(2)])

    def hessians(self, eta):
        return torch.stack([hessian(self.member(i), eta) for i in range(2)])

    def __call__(self, eta):
        return self.values(eta).mean(0)


def edge(ratio):
    """Where x(1 − x) = 1/ratio."""
    return (1 - math.sqrt(1 - 4 / ratio)) / 2


def test_a_committee_states_the_spread_of_the_ordering_spinodal():
    network = TwoAlloys((1.4, -0.3, -0.3, -0.3))
    (mean,) = ordering_intervals(network, composition=(0.0, 1.0), dimension=4)
    estimate = committee_ordering(network, mean, composition=(0.0, 1.0))
    spread = abs(edge(0.594 / THERMAL) - edge(0.606 / THERMAL)) / math.sqrt(2)
    assert estimate.sigma() == pytest.approx((spread, spread), rel=1e-6)
    # The half of the range that cuts the interval is another question.
    assert committee_ordering(network, mean, composition=(0.0, 0.5)).missing == 2


def test_a_committee_states_the_spread_of_a_chemical_spinodal():
    network = TwoAlloys((-2.6 * THERMAL, 0.0, 0.0, 0.0))
    (well, *_) = wells(network, FCC_L12, -2.7 * THERMAL)
    mean = branch(network, FCC_L12, well, composition=(0.1, 0.9))
    estimate = committee_branch(network, mean, well, composition=(0.1, 0.9))
    spread = abs(edge(5.2 * 0.99) - edge(5.2 * 1.01)) / math.sqrt(2)
    assert estimate.missing == 0
    assert estimate.sigma() == pytest.approx((spread, spread), rel=1e-5)


def test_a_committee_states_the_spread_of_a_driving_force(trained):
    nudged = IntegrableNetwork.gather([trained], [0]).requires_grad_(False)
    nudged.weights[-1].mul_(1.001)
    network = IntegrableNetwork.gather([trained, nudged], [0, 1]).requires_grad_(False)
    mean = driving_force(network, FCC_L12, disordered(0.17), "L1_2")
    assert mean is not None
    estimate = committee_driving_force(network, mean)
    assert estimate.missing == 0
    each = [driving_force(m, FCC_L12, disordered(0.17), "L1_2") for m in (trained, nudged)]
    spread = abs(each[0].value - each[1].value) / math.sqrt(2)
    assert estimate.sigma()[0] == pytest.approx(spread, rel=1e-6)
    assert spread > 0
