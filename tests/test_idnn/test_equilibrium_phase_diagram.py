"""Phase diagrams of closed-form alloys: known temperatures, levelled wells, unbroken fields."""

import math

import pytest
import torch
from scipy.optimize import brentq

from idnn.equilibrium import tie_lines
from idnn.estimates import Committee
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential, hessian
from idnn.order_parameters import FCC_L12
from idnn.phase_diagram import committee_invariant, committee_lines, phase_diagram
from idnn.units import BOLTZMANN_EV
from idnn.wells import wells


def bragg_williams(*interaction):
    v = torch.tensor(interaction, dtype=torch.float64)
    return lambda t: BraggWilliams(IdealMixing(FCC_L12.q, t), v)


def with_a_gap(temperature, strength=0.3):
    """The ordering alloy with −W η₀⁴: its rich side unmixes, down to a reaction with L1₂*."""
    ordering = bragg_williams(0.4, -0.4, -0.4, -0.4)(temperature)
    return lambda eta: ordering(eta) - strength * eta[..., 0] ** 4


class TwoAlloys(Committee):
    """A committee of two gaps."""

    system = FCC_L12
    members = 2
    strengths = (0.2995, 0.3005)

    def __init__(self, temperature):
        self.temperature = temperature

    def member(self, index):
        return with_a_gap(self.temperature, self.strengths[index])

    def values(self, eta):
        return torch.stack([self.member(i)(eta) for i in range(2)])

    def gradients(self, eta):
        return torch.stack([chemical_potential(self.member(i), eta) for i in range(2)])

    def hessians(self, eta):
        return torch.stack([hessian(self.member(i), eta) for i in range(2)])

    def __call__(self, eta):
        return self.values(eta).mean(0)


def test_all_fields_of_the_ordering_alloy_close_at_its_critical_temperature():
    """At stoichiometry AB, kT_c = −v/2: there A1, L1₂, L1₀ and L1₂* meet (Shockley 1938)."""
    critical = 0.4 / (2 * BOLTZMANN_EV)
    diagram = phase_diagram(
        bragg_williams(0.4, -0.4, -0.4, -0.4), FCC_L12, [800.0, 2290.0, 2360.0],
        composition=(0.0, 1.0), tolerance=50.0,
    )  # fmt: skip
    assert [len(i.lines) for i in diagram.isotherms if i.temperature < critical - 20] == [4, 4]
    (meeting,) = diagram.invariants
    assert abs(meeting.temperature - critical) <= meeting.error <= 25
    assert set(meeting.phases) == {"A1", "L1_2", "L1_0", "L1_2*"}
    assert meeting.compositions == pytest.approx((0.5,) * 4, abs=1e-6)
    fields = diagram.fields()
    assert [f.phases for f in fields] == [
        ("A1", "L1_2"), ("L1_2", "L1_0"), ("L1_0", "L1_2*"), ("L1_2*", "A1"),
    ]  # fmt: skip
    for field in fields:
        assert field.temperature[:2].tolist() == [800.0, 2290.0]
        width = field.compositions[:, 1] - field.compositions[:, 0]
        assert (width > 0).all()
        assert width[1] < width[0]


def test_a_miscibility_gap_ends_at_its_critical_point_and_follows_its_binodal():
    """Regular solution: kT_c = W/2 at ½."""
    w = 0.2
    diagram = phase_diagram(
        bragg_williams(-w, 0.0, 0.0, 0.0), FCC_L12, [800.0, 1100.0, 1200.0],
        composition=(0.0, 1.0), tolerance=5.0,
    )  # fmt: skip
    (end,) = diagram.invariants
    assert abs(end.temperature - w / (2 * BOLTZMANN_EV)) <= end.error <= 2.5
    assert end.phases == ("A1",)
    (field,) = diagram.fields()
    for t, (low, high) in zip(field.temperature.tolist(), field.compositions.tolist(), strict=True):
        strength = w / (BOLTZMANN_EV * t)
        binodal = brentq(
            lambda x, s=strength: math.log(x / (1 - x)) - s * (2 * x - 1), 1e-4, 0.4999, xtol=1e-13
        )
        assert (low, high) == pytest.approx((binodal, 1 - binodal), abs=1e-7)


@pytest.fixture(scope="module")
def reaction():
    """The range of temperature that holds one reaction of three phases."""
    return phase_diagram(
        with_a_gap, FCC_L12, [2110.0, 2150.0], composition=(0.5, 1.0), tolerance=20.0
    )


def test_three_phases_are_level_at_their_invariant_temperature(reaction):
    (eutectoid,) = reaction.invariants
    assert eutectoid.phases == ("L1_0", "L1_2*", "A1")
    assert eutectoid.error == 0
    f = with_a_gap(eutectoid.temperature)
    mu = eutectoid.wells[0].mu
    three = wells(f, FCC_L12, mu, composition=(0.5, 1.0))[:3]
    assert {w.phase for w in three} == set(eutectoid.phases)
    omega = [w.omega for w in three]
    assert max(omega) - min(omega) < 1e-8
    # One phase pair below it and two above: the invariant temperature divides them.
    count = [
        len(tie_lines(with_a_gap(eutectoid.temperature + d), FCC_L12, composition=(0.5, 1.0)))
        for d in (-0.05, 0.05)
    ]
    assert count == [1, 2]


def test_fields_end_at_the_invariant_they_meet_in(reaction):
    (eutectoid,) = reaction.invariants
    spans = {
        f.phases: (float(f.temperature[0]), float(f.temperature[-1])) for f in reaction.fields()
    }
    assert set(spans) == {("L1_0", "A1"), ("L1_0", "L1_2*"), ("L1_2*", "A1")}
    assert spans["L1_0", "A1"][1] < eutectoid.temperature < spans["L1_2*", "A1"][0]
    assert spans["L1_0", "L1_2*"] == spans["L1_2*", "A1"]


def test_a_committee_states_the_spread_of_boundaries_and_of_an_invariant(reaction):
    (mean,) = reaction.invariants
    sure = committee_invariant(TwoAlloys, 2, mean)
    assert sure.missing == 0
    one, other = (i.temperature for i in sure.members)
    assert min(one, other) < mean.temperature < max(one, other)
    assert sure.sigma()[0] == pytest.approx(abs(one - other) / math.sqrt(2))
    for estimate in committee_lines(TwoAlloys, reaction.isotherms[-1]):
        assert estimate.missing == 0
        low, high = estimate.numbers().sort(0).values
        middle = torch.tensor(estimate.mean.numbers, dtype=torch.float64)
        assert ((low < middle) & (middle < high)).all()


@pytest.mark.parametrize(
    ("temperatures", "message"),
    [([900.0], "two or more"), ([900.0, -1.0], "positive"), ([900.0, math.nan], "positive")],
)
def test_temperatures_that_make_no_diagram_are_refused(temperatures, message):
    with pytest.raises(ValueError, match=message):
        phase_diagram(with_a_gap, FCC_L12, temperatures, composition=(0.0, 1.0))
