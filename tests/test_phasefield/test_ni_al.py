"""Constants of Ni–Al: what they say, and what they refuse."""

import math

import pytest

from phasefield.ni_al import NI_AL, Quoted, fixed

GAS_CONSTANT = 8.314462618

GAMMA = {  # T/K: c and G″ (J/mol) of γ at the tie-line of Dupin et al. 2001
    823: (0.1065, 330e3), 873: (0.1115, 336e3), 973: (0.1218, 346e3), 1023: (0.1271, 350e3),
    1073: (0.1325, 354e3), 1173: (0.1438, 360e3), 1273: (0.1560, 364e3),
}  # fmt: skip


def entry(**changes):
    known = dict(
        name="speed", unit="m/s", temperatures=(1.0, 2.0), values=(1.0, 3.0), source="a paper"
    )
    return Quoted(**(known | changes))


def tracer(temperature, c, solvent, solute, mixed):
    """D* = exp(ΔG*/RT) of the parameters MQ in J/mol (Andersson & Ågren 1992)."""
    barrier = (1 - c) * solvent + c * solute + c * (1 - c) * mixed
    return math.exp(barrier / (GAS_CONSTANT * temperature))


@pytest.mark.parametrize("temperature", GAMMA)
def test_interdiffusion_is_that_of_the_mobilities_of_engstrom_and_agren(temperature):
    """D̃ = [(1 − c) D*_Al + c D*_Ni] c(1 − c)G″/RT (Darken), from the parameters MQ of 1996.

    The table has two digits.
    """
    c, curvature = GAMMA[temperature]
    rt = GAS_CONSTANT * temperature
    al = tracer(
        temperature, c, -284000 + rt * math.log(7.5e-4), -142000 + rt * math.log(1.71e-4),
        -41300 - 91.2 * temperature,
    )  # fmt: skip
    ni = tracer(
        temperature, c, -287000 - 69.8 * temperature, -145900 + rt * math.log(4.4e-4),
        -113000 + 65.5 * temperature,
    )  # fmt: skip
    expected = ((1 - c) * al + c * ni) * c * (1 - c) * curvature / rt
    assert NI_AL.diffusivity.at(temperature) == pytest.approx(expected, rel=0.03, abs=0)


def test_between_temperatures_numbers_are_interpolated():
    assert entry().at(1.5) == pytest.approx(2)
    cold, hot = 1.0, 2.0
    middle = 2 / (1 / cold + 1 / hot)  # half way in 1/T
    assert entry(activated=True).at(middle) == pytest.approx(math.sqrt(3))
    assert NI_AL.interface_energy.at(875) == pytest.approx(15e-3)
    assert NI_AL.interface_energy.at(1273) == pytest.approx(20e-3 - 10e-3 * 723 / 650, rel=1e-3)


def test_every_constant_says_where_it_is_from_and_how_far_to_trust_it():
    singles = [
        NI_AL.interface_energy, NI_AL.interface_width, NI_AL.diffusivity, NI_AL.molar_volume,
        NI_AL.misfit, *NI_AL.moduli, *NI_AL.moduli_ordered,
    ]  # fmt: skip
    assert all(each.source and each.doubt for each in singles)


def test_moduli_are_those_of_stable_crystals_with_the_anisotropy_of_nickel():
    for moduli, zener in ((NI_AL.moduli, 3.22), (NI_AL.moduli_ordered, 3.43)):
        c11, c12, c44 = (each.at(1073) for each in moduli)
        assert c11 > c12
        assert 2 * c44 / (c11 - c12) == pytest.approx(zener, abs=0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": (1.0,)}, "two or more"),
        ({"temperatures": (2.0, 1.0)}, "must increase"),
        ({"values": (1.0, math.nan)}, "must be finite"),
        ({"values": (-1.0, 1.0), "activated": True}, "must be finite and positive"),
        ({"source": ""}, "`source` of speed"),
    ],
)
def test_bad_entries_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        entry(**changes)


@pytest.mark.parametrize("temperature", [0.5, 2.5, math.nan])
def test_a_temperature_that_is_not_covered_is_refused_with_the_source(temperature):
    with pytest.raises(ValueError, match=r"must lie in \[1, 2\] K.*a paper"):
        entry().at(temperature)


def test_one_number_holds_between_two_temperatures():
    assert fixed("size", "m", 2.0, "a ruler", between=(1.0, 3.0)).at(2.2) == 2.0
