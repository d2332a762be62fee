"""What a finite box adds to μ and H: exact sums, known values, agreement of boxes."""

import numpy as np
import pytest
from scipy.special import gammaln

from idnn.units import BOLTZMANN_EV
from sampling.finite_size import ideal_excess, interaction_excess, stiffer_than_ideal

THERMAL = BOLTZMANN_EV * 1000


def umbrella_gas(centre, stiffness, sites):
    """⟨x⟩ and force per site of one sublattice under N A (x − c)², by direct summation."""
    n = np.arange(sites + 1)
    exponent = -gammaln(n + 1) - gammaln(sites - n + 1)
    exponent -= sites * stiffness * (n / sites - centre) ** 2 / THERMAL
    weight = np.exp(exponent - exponent.max())
    mean = weight @ n / sites / weight.sum()
    return mean, -2 * stiffness * (mean - centre)


@pytest.mark.parametrize("sites", [8, 64, 1000])
@pytest.mark.parametrize("stiffness", [0.2, 1.0, 6.0])
@pytest.mark.parametrize("centre", [-0.1, 0.3, 0.5, 1.1])
def test_excess_restores_the_ideal_chemical_potential_from_any_box(sites, stiffness, centre):
    mean, force = umbrella_gas(centre, stiffness, sites)
    excess = ideal_excess(np.array([mean]), np.array([stiffness]), temperature=1000.0, sites=sites)
    # 1 − x down to 1e-10 here: rounding of x alone is worth 1e-7 eV.
    ideal = THERMAL * np.log(mean / (1 - mean))
    assert force - excess.force[0] == pytest.approx(ideal, abs=1e-7)


def test_a_free_box_has_no_excess():
    x = np.array([1e-6, 0.1, 0.5, 0.999])
    excess = ideal_excess(x, np.zeros(4), temperature=1000.0, sites=64)
    assert excess.force == pytest.approx(np.zeros(4), abs=1e-12)
    assert excess.slope * x * (1 - x) == pytest.approx(np.zeros(4), abs=1e-9)


def test_excess_has_the_known_value_of_0_301_mev():
    # Ideal sublattice of 1000 sites, k = 1 eV, x = 0.083 at 1000 K: exact sum, measured elsewhere.
    excess = ideal_excess(np.array([0.083]), np.array([1.0]), temperature=1000.0, sites=1000)
    assert 1e3 * excess.force[0] == pytest.approx(0.301, abs=0.002)


def test_excess_approaches_its_leading_order_in_1_over_n():
    x, stiffness = 0.2, 0.9
    second, third = THERMAL / (x * (1 - x)), THERMAL * ((1 - x) ** -2 - x**-2)
    leading = third * (1 / (2 * stiffness + second) - 1 / second)
    errors = []
    for sites in (50, 200, 800):
        args = (np.array([x]), np.array([stiffness]))
        force = ideal_excess(*args, temperature=1000.0, sites=sites).force[0]
        errors.append(force / (THERMAL / (2 * sites) * leading) - 1)
    assert np.abs(errors[0]) < 0.2
    assert np.log2(np.divide(errors[:-1], errors[1:])) == pytest.approx(2.0, abs=0.3)


def test_slope_is_the_derivative_of_the_force():
    x, stiffness, step = np.array([0.02, 0.3, 0.5, 0.97]), np.array([0.9, 0.5, 2.0, 0.9]), 1e-5
    conditions = {"temperature": 1000.0, "sites": 64}
    up, down = (ideal_excess(x + s, stiffness, **conditions).force for s in (step, -step))
    slope = ideal_excess(x, stiffness, **conditions).slope
    assert slope == pytest.approx((up - down) / (2 * step), rel=1e-5)


def test_species_can_be_exchanged():
    x, stiffness = np.array([0.07, 0.4]), np.array([0.9, 2.0])
    conditions = {"temperature": 800.0, "sites": 27}
    there, back = (ideal_excess(y, stiffness, **conditions) for y in (x, 1 - x))
    assert there.force == pytest.approx(-back.force, abs=1e-10)
    assert there.slope == pytest.approx(back.slope, rel=1e-8)


def test_interactions_add_nothing_to_an_ideal_solution():
    x = np.array([[0.1, 0.4, 0.6, 0.95]])
    ideal = np.diag(THERMAL / 4 / (x * (1 - x))[0])[None]
    stiffness = np.diag([0.9, 0.7, 0.5, 0.3])[None]
    excess = interaction_excess(x, ideal, stiffness, temperature=1000.0, sites=256)
    assert excess == pytest.approx(np.zeros((1, 4)), abs=1e-15)
    softer = interaction_excess(x, 0.8 * ideal, stiffness, temperature=1000.0, sites=256)
    # A softer state fluctuates more: it is pushed further from the bound that is near.
    assert (np.sign(softer[0]) == np.sign(0.5 - x[0])).all()


def test_only_states_stiffer_than_any_ideal_solution_count_as_stiff():
    softest = THERMAL * np.eye(4)
    hessians = np.stack([1.01 * softest, 0.99 * softest, -softest, np.nan * softest])
    found = stiffer_than_ideal(hessians, temperature=1000.0)
    assert found.tolist() == [True, False, False, False]


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, np.nan])
def test_a_mean_outside_the_open_interval_is_refused(bad):
    with pytest.raises(ValueError, match="`mean` must lie strictly between 0 and 1: 1 of 2"):
        ideal_excess(np.array([0.5, bad]), np.ones(2), temperature=1000.0, sites=8)
