"""Wells, common tangents and spinodals against closed forms, tables and exhaustive search."""

import math

import pytest
import torch
from references import DupinNickelAluminium
from scipy.optimize import brentq

from idnn.descent import minimise
from idnn.equilibrium import committee_tie_line, common_tangents, refine, tie_lines
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12, System
from idnn.spinodals import ordering_intervals, ordering_spinodal
from idnn.units import BOLTZMANN_EV
from idnn.wells import wells

NICKEL_RICH = (0.0, 0.35)


def compositions(line):
    return [float(line.left.eta[0]), float(line.right.eta[0])]


def bragg_williams(*interaction, temperature=1000.0):
    v = torch.tensor(interaction, dtype=torch.float64)
    return BraggWilliams(IdealMixing(FCC_L12.q, temperature), v)


# x_Al of γ and γ′ from `pycalphad.equilibrium` on the same database, to the four digits given.
@pytest.mark.parametrize(
    ("temperature", "table"),
    [(973.0, (0.1218, 0.2383)), (1000.0, (0.1246, 0.2372)), (1273.0, (0.1560, 0.2289))],
)
def test_the_tie_line_of_nickel_aluminium_is_that_of_the_assessment(temperature, table):
    f = DupinNickelAluminium(temperature)
    (line,) = tie_lines(f, FCC_L12, composition=NICKEL_RICH)
    assert (line.left.phase, line.right.phase) == ("A1", "L1_2")
    assert compositions(line) == pytest.approx(table, abs=1e-4)
    assert_common_tangent(f, line)


def assert_common_tangent(f, line):
    eta = torch.stack([line.left.eta, line.right.eta])
    mu = chemical_potential(f, eta)
    expected = torch.zeros(2, 4, dtype=torch.float64)
    expected[:, 0] = line.mu
    torch.testing.assert_close(mu, expected, rtol=0, atol=1e-8)
    omega = f(eta) - line.mu * eta[:, 0]
    assert float(omega[0]) == pytest.approx(float(omega[1]), abs=1e-8)
    assert min(line.left.stiffness, line.right.stiffness) > 0


def test_ideal_mixing_has_one_well_and_no_tie_line():
    f = IdealMixing(FCC_L12.q, 1000.0)
    assert tie_lines(f, FCC_L12, composition=(0.0, 1.0)) == []
    (well,) = wells(f, FCC_L12, 0.1)
    # μ = kT ln(x/(1 − x))
    assert float(well.eta[0]) == pytest.approx(1 / (1 + math.exp(-0.1 / (BOLTZMANN_EV * 1000))))
    assert well.phase == "A1"


def test_a_miscibility_gap_within_one_phase_has_its_closed_form():
    """Regular solution −Wη₀² + Wη₀: ln(x/(1−x)) = (W/kT)(2x − 1) on the binodal."""
    w = 2.6 * BOLTZMANN_EV * 1000.0
    f = bragg_williams(-w, 0.0, 0.0, 0.0)
    (line,) = tie_lines(f, FCC_L12, composition=(0.0, 1.0))
    binodal = brentq(lambda x: math.log(x / (1 - x)) - 2.6 * (2 * x - 1), 1e-4, 0.3, xtol=1e-13)
    assert compositions(line) == pytest.approx([binodal, 1 - binodal], abs=1e-8)
    assert line.mu == pytest.approx(-w, abs=1e-9)


def test_all_two_phase_fields_of_an_ordering_alloy_are_found_and_mirror_each_other():
    """With interactions of pairs only, f(x) = f(1 − x) up to a linear term (Shockley 1938)."""
    f = bragg_williams(0.4, -0.4, -0.4, -0.4)
    lines = tie_lines(f, FCC_L12, composition=(0.0, 1.0))
    names = [(line.left.phase, line.right.phase) for line in lines]
    assert names == [("A1", "L1_2"), ("L1_2", "L1_0"), ("L1_0", "L1_2*"), ("L1_2*", "A1")]
    mirrored = [[1 - x for x in reversed(compositions(line))] for line in reversed(lines)]
    for line, mirror in zip(lines, mirrored, strict=True):
        assert compositions(line) == pytest.approx(mirror, abs=1e-8)
        assert_common_tangent(f, line)
        lowest = wells(f, FCC_L12, line.mu)[0]
        assert lowest.omega == pytest.approx(line.left.omega, abs=1e-9)


def test_metastable_tangents_are_found_and_told_from_the_stable_ones():
    """L1₂ and L1₂* mirror each other, so their tangent has μ = ∂(v₀η₀²)/∂η₀ at ½; L1₀ is below."""
    f = bragg_williams(-0.3, -0.4, -0.4, -0.4)
    lines = common_tangents(f, FCC_L12, composition=(0.0, 1.0))
    assert [line.phases for line in lines if line.stable] == [
        ("A1", "L1_2"), ("L1_2", "L1_0"), ("L1_0", "L1_2*"), ("L1_2*", "A1"),
    ]  # fmt: skip
    (lowest, *_) = wells(f, FCC_L12, -0.3)
    assert lowest.phase == "L1_0"
    for phases in (("L1_2", "L1_2*"), ("A1", "A1")):
        (mirrored,) = [line for line in lines if line.phases == phases]
        assert mirrored.mu == pytest.approx(-0.3, abs=1e-9)
        assert sum(mirrored.compositions) == pytest.approx(1.0, abs=1e-8)
        assert not mirrored.stable
        assert mirrored.below == pytest.approx(mirrored.left.omega - lowest.omega, abs=1e-10)
    assert {("A1", "L1_0"), ("L1_0", "A1")} <= {line.phases for line in lines if not line.stable}
    for line in lines:
        assert_common_tangent(f, line)


def test_a_gap_of_two_per_cent_next_to_its_critical_point_is_found():
    """Of the regular solution at W/kT = 2.0005: hysteresis of μ is 3e-6 eV."""
    w = 2.0005 * BOLTZMANN_EV * 1000.0
    (line,) = tie_lines(bragg_williams(-w, 0.0, 0.0, 0.0), FCC_L12, composition=(0.0, 1.0))
    binodal = brentq(lambda x: math.log(x / (1 - x)) - 2.0005 * (2 * x - 1), 0.4, 0.495, xtol=1e-13)
    assert compositions(line) == pytest.approx([binodal, 1 - binodal], abs=1e-5)
    above = bragg_williams(-1.9995 * BOLTZMANN_EV * 1000.0, 0.0, 0.0, 0.0)
    assert tie_lines(above, FCC_L12, composition=(0.0, 1.0)) == []


@pytest.mark.parametrize("temperature", [500.0, 900.0])
def test_no_tie_line_is_invented_where_order_sets_in_continuously(temperature):
    """B2 on two sublattices below T_c = −v₁/2k: a critical line, kT = −2v₁x(1 − x), no gap."""
    system = bcc()
    v = torch.tensor([0.2, -0.2], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(system.q, temperature), v)
    assert common_tangents(f, system, composition=(0.0, 1.0)) == []
    (unstable,) = ordering_intervals(f, composition=(0.0, 1.0), dimension=2)
    edge = (1 - math.sqrt(1 - 4 * BOLTZMANN_EV * temperature / 0.4)) / 2
    assert unstable.numbers == pytest.approx((edge, 1 - edge), abs=1e-9)
    (well,) = wells(f, system, 0.2)
    assert (well.phase, float(well.eta[0])) == ("B2", pytest.approx(0.5))


def bcc():
    return System(
        name="bcc",
        q=torch.tensor([[1, 1], [1, -1]], dtype=torch.float64) / 2,
        group=torch.tensor([[0, 1], [1, 0]]),
        ordered_cell=((0, 1, 1), (1, 0, 1), (1, 1, 0)),
        prototypes={"A2": (0.5, 0.5), "B2": (1.0, 0.0)},
        primitive_cell=((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)),
    )


@pytest.mark.parametrize("temperature", [80.0, 150.0])
def test_a_tie_line_to_a_pure_end_is_found_however_small_the_solubility(temperature):
    """Against perfect L1₂, μ = −0.2 eV and x = exp(−0.2 eV/kT): 2e-7 at 150 K, 3e-13 at 80 K."""
    f = bragg_williams(0.4, -0.4, -0.4, -0.4, temperature=temperature)
    (line,) = tie_lines(f, FCC_L12, composition=NICKEL_RICH)
    assert line.mu == pytest.approx(-0.2, abs=1e-6)
    assert line.compositions == pytest.approx((0.0, 0.25), abs=1e-5)


def test_a_solubility_of_a_hundred_parts_per_million_follows_henrys_law():
    """Against perfect L1₂ of energy −0.05 eV/site, μ = −0.2 eV and x = exp(μ/kT) when dilute."""
    f = bragg_williams(0.4, -0.4, -0.4, -0.4, temperature=250.0)
    (line,) = tie_lines(f, FCC_L12, composition=NICKEL_RICH)
    # To first order in x: 2·0.4 x/kT is 0.4 %.
    solubility = math.exp(-0.2 / (BOLTZMANN_EV * 250.0))
    assert float(line.left.eta[0]) == pytest.approx(solubility, rel=0.01)
    assert float(line.right.eta[0]) == pytest.approx(0.25, abs=solubility)


AT_TWO_PHASES = (DupinNickelAluminium(1273.0), -1.2945665773)


def test_wells_are_stationary_and_stable():
    f, mu = AT_TWO_PHASES
    for well in wells(f, FCC_L12, mu):
        expected = torch.tensor([mu, 0, 0, 0], dtype=torch.float64)
        slope = chemical_potential(f, well.eta)
        torch.testing.assert_close(slope, expected, rtol=0, atol=1e-8)
        assert well.stiffness > 0
        assert well.omega == pytest.approx(float(f(well.eta) - mu * well.eta[0]))


def test_wells_outside_the_range_of_composition_are_left_out():
    f, mu = AT_TWO_PHASES
    assert {w.phase for w in wells(f, FCC_L12, mu, composition=(0.2, 0.3))} == {"L1_2"}


def test_a_well_at_a_wall_is_found_where_the_continued_logarithm_puts_it_outside():
    """At 600 K γ′ has 1e-5 on its dilute sites; continued below 1e-3, the minimum is at x < 0."""
    exact = bragg_williams(0.4, -0.4, -0.4, -0.4, temperature=600.0)
    ideal = IdealMixing(FCC_L12.q, 600.0, floor=1e-3)
    softened = BraggWilliams(ideal, exact.interaction)
    (true,) = tie_lines(exact, FCC_L12, composition=NICKEL_RICH)
    (found,) = tie_lines(softened, FCC_L12, composition=NICKEL_RICH)
    assert FCC_L12.site_fractions(true.right.eta).min() < math.exp(-1) * 1e-3
    assert FCC_L12.site_fractions(found.right.eta).min() < 1e-9
    # Of the order of the fraction that the wall takes from three of four sites.
    assert compositions(found) == pytest.approx(compositions(true), abs=5e-4)


def test_a_descent_that_does_not_converge_says_so():
    f, mu = AT_TWO_PHASES
    start = FCC_L12.order_parameters(torch.tensor([[0.9, 0.1, 0.1, 0.1]], dtype=torch.float64))
    at = torch.tensor([mu], dtype=torch.float64)
    assert not minimise(f, FCC_L12, start, at, iterations=1)[1].any()
    assert minimise(f, FCC_L12, start, at)[1].all()


def test_a_pair_that_does_not_coexist_has_no_tangent():
    f, mu = AT_TWO_PHASES
    gamma_prime = wells(f, FCC_L12, mu, composition=(0.2, 0.3))[0]
    assert refine(f, FCC_L12, gamma_prime, gamma_prime) is None


def test_the_learned_tie_line_is_that_of_the_truth(trained):
    (line,) = tie_lines(trained, FCC_L12, composition=NICKEL_RICH)
    # 4e-4 and 1.9e-3 measured with 300 exact states, and as much between networks that began
    # elsewhere: γ′ has 1e-3 on its dilute sites, where few states are.
    solution, ordered = compositions(line)
    assert solution == pytest.approx(0.15601, abs=1.3e-3)
    assert ordered == pytest.approx(0.22891, abs=4e-3)
    assert_common_tangent(trained, line)


def test_a_committee_states_its_spread_and_admits_a_missing_well(trained):
    (line,) = tie_lines(trained, FCC_L12, composition=NICKEL_RICH)
    nudged = IntegrableNetwork.gather([trained], [0]).requires_grad_(False)
    nudged.weights[-1].mul_(1.001)
    untrained = IntegrableNetwork(FCC_L12, trained.temperature, NetworkSettings())

    sure = committee_tie_line(IntegrableNetwork.gather([trained, nudged], [0, 1]), line)
    assert sure.missing == 0
    assert all(0 < s < 0.01 for s in sure.sigma())
    spread = (sure.numbers()[0] - sure.numbers()[1]).abs() / math.sqrt(2)
    assert sure.sigma() == pytest.approx(spread.tolist())

    unsure = committee_tie_line(IntegrableNetwork.gather([trained, untrained], [0, 1]), line)
    assert (unsure.missing, len(unsure.members)) == (1, 1)
    assert unsure.sigma() == (math.inf, math.inf)


def test_the_ordering_spinodal_has_its_closed_form():
    """Disordered Bragg-Williams is unstable where kT/(x(1 − x)) < −2v."""
    f = bragg_williams(1.4, -0.3, -0.3, -0.3)
    product = BOLTZMANN_EV * 1000.0 / 0.6
    edge = (1 - math.sqrt(1 - 4 * product)) / 2
    found = ordering_spinodal(f, composition=(0.0, 0.5), dimension=4)
    # Linear between 400 intervals: the curvature of 1/x times (0.5/400)²/8.
    assert found == pytest.approx(edge, abs=2e-5)
    assert ordering_spinodal(f, composition=(0.0, 0.9 * edge), dimension=4) is None
