"""What is refused, and what the messages say."""

import pytest
import torch
from pores import D, brine, membrane, tensor

from idnn.nanopore import (
    Davies,
    Ions,
    Membrane,
    NotConverged,
    Water,
    ions,
    neutralised,
    spiral_wound,
    transport,
    two_nodes,
)

SPECIES, FEED = brine()


def test_an_ion_not_in_the_table_is_refused_with_what_is_there():
    with pytest.raises(ValueError, match=r"`names` must be of Na, K, .*'Unobtainium' is not"):
        ions(("Na", "Unobtainium"))


def test_an_ion_given_twice_is_refused():
    with pytest.raises(ValueError, match="must not repeat an ion; they are Na, Cl, Na"):
        ions(("Na", "Cl", "Na"))


def test_ions_of_one_sign_are_refused():
    with pytest.raises(ValueError, match="must hold a cation and an anion"):
        ions(("Na", "Mg"))


@pytest.mark.parametrize("name", ["diffusivity", "stokes_radius", "molar_mass"])
def test_an_ion_without_size_mass_or_motion_is_refused(name):
    values = {"diffusivity": tensor(1e-9, 1e-9), "stokes_radius": tensor(2e-10, 2e-10)}
    values |= {"charge": tensor(1.0, -1.0), "molar_mass": tensor(0.02, 0.03)}
    with pytest.raises(ValueError, match=f"`{name}` must be finite and positive: 1 of 2"):
        Ions(("A", "B"), **(values | {name: tensor(1e-9, -1e-9)}))


def test_properties_of_more_ions_than_have_names_are_refused():
    with pytest.raises(ValueError, match=r"`charge` must end in an axis of the 2 ions A, B; .*3"):
        Ions(("A", "B"), *torch.ones(4, 3, dtype=D))


def test_a_charged_feed_is_refused_with_the_excess_and_the_remedy():
    feed = FEED.clone()
    feed[0] *= 1.1
    message = r"`feed` must be neutral.*1 of 2 .* flat index 1, a part 0.0[0-9]+ .*`neutralised`"
    with pytest.raises(ValueError, match=message):
        transport(SPECIES, torch.stack([FEED, feed]), membrane(), pressure=1e6)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_an_ion_without_concentration_is_refused(value):
    feed = FEED.clone()
    feed[1] = value
    with pytest.raises(ValueError, match=r"`feed` must be finite and positive: 1 of 5"):
        transport(SPECIES, feed, membrane(), pressure=1e6)


def test_a_feed_of_other_ions_or_precision_is_refused():
    with pytest.raises(ValueError, match=r"`feed` must end in an axis of the 5 ions Na, Li"):
        transport(SPECIES, FEED[:4], membrane(), pressure=1e6)
    with pytest.raises(ValueError, match=r"`feed` must be of float64.*`.double\(\)`"):
        transport(SPECIES, FEED.float(), membrane(), pressure=1e6)


def test_a_pressure_or_a_flux_must_be_given_and_be_positive():
    with pytest.raises(ValueError, match="give one of them, in Pa or m/s; neither is given"):
        transport(SPECIES, FEED, membrane())
    with pytest.raises(ValueError, match="both is given"):
        transport(SPECIES, FEED, membrane(), pressure=1e6, flux=1e-6)
    with pytest.raises(ValueError, match=r"`pressure` must be finite and positive; it is -1"):
        transport(SPECIES, FEED, membrane(), pressure=-1.0)
    with pytest.raises(ValueError, match=r"`flux` must be finite and positive; it is 0"):
        transport(SPECIES, FEED, membrane(), flux=0.0)


def test_an_ion_as_large_as_the_pore_is_refused_by_name():
    with pytest.raises(ValueError, match=r"`membrane.pore_radius` must exceed .* Mg is 1.0[0-9]+ "):
        transport(SPECIES, FEED, membrane(radius=0.34e-9), pressure=1e6)


@pytest.mark.parametrize(
    ("name", "value"), [("pore_radius", 0.0), ("thickness", -1e-6), ("permittivity", float("nan"))]
)
def test_a_membrane_without_pores_is_refused(name, value):
    values = {"pore_radius": 5e-10, "thickness": 1e-6, "charge": -10.0, "permittivity": 40.0}
    values[name] = value
    with pytest.raises(ValueError, match=f"`{name}` must be finite and positive"):
        Membrane(**{key: tensor(x)[0] for key, x in values.items()})
    with pytest.raises(ValueError, match="`charge` must be finite"):
        membrane(charge=float("inf"))


def test_water_activities_and_channels_must_be_physical():
    with pytest.raises(ValueError, match="`viscosity` must be finite and positive"):
        Water(viscosity=0.0)
    with pytest.raises(ValueError, match=r"`slope` must lie in \[0, 1000\]"):
        Davies(slope=-1.0)
    with pytest.raises(ValueError, match="`velocity` must be finite and positive"):
        spiral_wound(SPECIES, Water(), velocity=tensor(0.0))


def test_only_an_ion_of_the_right_charge_can_neutralise():
    nacl = ions(("Na", "Cl"))
    assert neutralised(tensor(3.0, 1.0), nacl, "Cl").tolist() == [3.0, 3.0]
    three = ions(("Na", "K", "Cl"))
    with pytest.raises(ValueError, match="K would need a concentration of -2"):
        neutralised(tensor(3.0, 0.0, 1.0), three, "K")
    with pytest.raises(ValueError, match=r"`by` must be one of Na, Cl; it is 'K'"):
        neutralised(tensor(3.0, 1.0), nacl, "K")


def test_an_unsolved_case_is_told_with_its_number_and_what_to_look_for():
    k = torch.stack([torch.full((5,), each, dtype=D) for each in (1e-4, 1e-9)])
    message = r"1 of 2 cases .* flat index 1. .*`mass_transfer` without `suction`.*`strict=False`"
    with pytest.raises(NotConverged, match=message) as caught:
        transport(SPECIES, FEED, membrane(), flux=1e-5, mass_transfer=k, suction=False)
    assert caught.value.case == 1


def test_permeates_that_two_nodes_make_negative_do_not_count_as_solved():
    with pytest.raises(NotConverged, match="too high for the points of `mesh`"):
        transport(SPECIES, FEED, membrane(), flux=3e-4, mesh=two_nodes())
