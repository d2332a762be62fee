"""Grand-canonical chains: exact sums, virial coefficients, symmetry, bookkeeping, bad input."""

import math

import numpy as np
import pytest
from hosts import SHORT, box, in_another_cell, rod, skewed, sphere
from scipy.integrate import quad

from idnn.adsorption.field import host_field
from idnn.adsorption.forcefield import ForceField
from idnn.adsorption.structures import supercell
from idnn.units import BOLTZMANN_PA_A3, GAS_CONSTANT
from sampling.adsorption.box import box_of, empty_chain, places_of
from sampling.adsorption.chain_kernel import FIELDS, run, total_energy
from sampling.adsorption.henry import dilute
from sampling.adsorption.isotherm import Schedule, TooDense, uptake

T = 300.0
LONG = Schedule(burn_in=100, records=4000)


def near(found, wanted, error=0.0):
    """Within four joint standard errors."""
    assert abs(float(found.value) - wanted) < 4 * math.hypot(float(found.stderr), error)
    assert float(found.stderr) > 0


def pressure_of(number, volume):
    """Pa, at which an ideal gas has so many molecules in a volume (Å³)."""
    return number * BOLTZMANN_PA_A3 * T / volume


def test_a_box_of_nothing_holds_an_ideal_gas():
    field = host_field(box(12.0), SHORT, sphere(epsilon=1e-9, sigma=2.0))
    pressure = pressure_of(5.0, 12.0**3)
    found = uptake(
        field, temperature=T, pressure=pressure, fugacity=pressure, schedule=LONG, seed=1
    )
    near(found.molecules, 5.0)
    near(found.heat, 1e-3 * GAS_CONSTANT * T)
    assert found.ergodic


def test_a_dilute_fluid_has_the_second_virial_coefficient_of_its_potential():
    """N = V(z − 2 B₂ z²) + O(z³)."""
    guest = sphere(epsilon=400.0, sigma=3.0)
    force = ForceField("x", {}, cutoff=6.0)
    edge = 4 * 400.0 * ((3 / 6) ** 12 - (3 / 6) ** 6)

    def mayer(r):
        u = 4 * 400.0 * ((3 / r) ** 12 - (3 / r) ** 6) - edge
        return -2 * math.pi * r**2 * (math.exp(-u / T) - 1)

    second = quad(mayer, 1e-3, 6.0, limit=200)[0]
    volume, number = 18.0**3, 1.0
    activity = number / volume
    wanted = volume * (activity - 2 * second * activity**2)
    pressure = pressure_of(number, volume)
    field = host_field(box(18.0), force, guest, spacing=1.0)
    found = uptake(
        field, temperature=T, pressure=pressure, fugacity=pressure, schedule=LONG, seed=2
    )
    # The term in z³ is of the order of (2 B₂ z)² N.
    near(found.molecules, wanted, number * (2 * second * activity) ** 2)
    assert abs(wanted - number) > 6 * float(found.molecules.stderr)


def pair_factors(points, edge, epsilon, sigma, cutoff):
    """e^{−u/kT} of two molecules, on a periodic grid of their distance."""
    axis = np.minimum(np.arange(points), points - np.arange(points)) * edge / points
    r = np.sqrt((np.array(np.meshgrid(axis, axis, axis, indexing="ij")) ** 2).sum(0))
    six, end = (sigma / np.maximum(r, 0.1)) ** 6, (sigma / cutoff) ** 6
    u = 4 * epsilon * (six**2 - six - (end**2 - end))
    return np.exp(-np.where(r < cutoff, u, 0.0) / T)


def test_numbers_of_molecules_follow_the_exact_partition_function():
    """Ξ = Σ zᴺ Zᴺ/N! up to three molecules: with two fixed, the third is a convolution."""
    edge, cutoff, points = 6.0, 3.0, 60
    factor = pair_factors(points, edge, 350.0, 2.4, cutoff)
    spectrum = np.fft.fftn(factor)
    two = factor.mean()
    three = (factor * np.fft.ifftn(spectrum**2).real).mean() / points**3
    activity = 0.25
    weight = np.array([1, activity, activity**2 / 2 * two, activity**3 / 6 * three])
    exact = weight / weight.sum()
    field = host_field(box(edge), ForceField("x", {}, cutoff=cutoff), sphere(350.0, 2.4))
    frame = box_of(field)
    chain = empty_chain(field, frame, (3,))
    out = np.empty((120_000, FIELDS))
    assert run(frame, places_of(field, frame, T), chain, activity, 1 / T, 8, out[:1000])
    # One move per record, so that N, not a mean of it, is counted.
    assert run(frame, places_of(field, frame, T), chain, activity, 1 / T, 1, out)
    number = out[:, 0].round().astype(int)
    found = np.bincount(number, minlength=4)[:4] / len(number)
    blocks = np.array([np.bincount(b, minlength=4)[:4] for b in number.reshape(40, -1)])
    error = (blocks / (len(number) / 40)).std(0, ddof=1) / math.sqrt(40)
    assert (np.abs(found - exact) < 4 * error + 1e-4).all()
    assert exact[3] > 4 * error[3]
    # Every pair's energy is averaged, alone or with a third molecule about.
    energy = -T * np.log(np.where(factor > 0, factor, 1.0))
    pair = (factor * energy).mean() / two
    around = np.fft.ifftn(spectrum**2).real / points**3
    each = np.array([0.0, 0.0, pair, 3 * (factor * energy * around).mean() / three])
    wanted = [(exact * each).sum(), (exact * [0, 1, 4, 9]).sum()]
    wanted += [(exact * each * [0, 1, 2, 3]).sum(), 0.0, (exact * each).sum()]
    long = np.empty((40, FIELDS))
    assert run(frame, places_of(field, frame, T), chain, activity, 1 / T, 25_000, long)
    means = long[:, 1:]
    deviation = means.std(0, ddof=1) / math.sqrt(40)
    assert (np.abs(means.mean(0) - wanted) < 4 * deviation + 1e-9).all()
    assert (np.abs(np.delete(wanted, 3)) > 4 * np.delete(deviation, 3)).all()


def test_pairs_in_a_host_follow_the_exact_partition_function():
    """Ξ = 1 + z Z₁ + z² Z₂/2, Z₂ by convolution of the host's factors with the pair's."""
    edge, cutoff, points = 7.0, 3.5, 56
    force = ForceField("x", {"O": (90.0, 2.6)}, cutoff=cutoff)
    host = box(edge)
    crystal = type(host)("one atom", host.lattice, np.full((1, 3), 0.5), np.array([8]))
    field = host_field(crystal, force, sphere(300.0, 2.4), spacing=edge / points)
    assert field.points == (points, points, points)
    one = np.exp(-field.values[0].astype(float) / T)
    pair = pair_factors(points, edge, 300.0, 2.4, cutoff)
    around = np.fft.ifftn(np.fft.fftn(pair) * np.fft.fftn(one)).real / points**3
    activity = 0.02
    weight = np.array([1, activity * one.mean(), activity**2 / 2 * (one * around).mean()])
    mean = (weight * [0, 1, 2]).sum() / weight.sum()
    pressure = pressure_of(activity, edge**3)
    schedule = Schedule(burn_in=100, records=20_000)
    found = uptake(
        field, temperature=T, pressure=pressure, fugacity=pressure, schedule=schedule, seed=4
    )
    near(found.molecules, mean, mean * activity**2)


@pytest.mark.parametrize("guest", [sphere(), rod()], ids=["sphere", "rod"])
def test_loading_and_heat_at_low_pressure_are_those_of_the_dilute_limit(guest):
    field = host_field(skewed(), SHORT, guest, spacing=0.25)
    limit = dilute(field, temperature=T)
    pressure = 0.02 * skewed().mol_per_kg / float(limit.henry.value)
    found = uptake(field, temperature=T, pressure=pressure, schedule=LONG, seed=5)
    # What guests do to each other at 0.02 molecules per cell is below one per cent.
    near(
        found.loading, found.fugacity * float(limit.henry.value), 0.01 * float(found.loading.value)
    )
    near(found.heat, float(limit.heat.value), 0.1)
    host = T - 1e3 * float(limit.heat.value) / GAS_CONSTANT
    assert found.host == pytest.approx(host, rel=0.03)
    assert abs(found.guests) < 0.03 * abs(host)


def dense(crystal, seed, copies=None, guest=None):
    field = host_field(crystal, SHORT, guest or sphere(120.0, 2.8), spacing=0.25)
    schedule = Schedule(burn_in=100, records=1000)
    return uptake(field, temperature=T, pressure=3e6, schedule=schedule, seed=seed, copies=copies)


@pytest.mark.parametrize("guest", [None, rod(80.0, 2.5)], ids=["sphere", "rod"])
def test_the_choice_of_cell_and_box_does_not_matter(guest):
    cells = float(np.prod(box_of(host_field(skewed(), SHORT, sphere())).copies))
    first = dense(skewed(), 6, guest=guest)
    assert float(first.molecules.value) * cells > 2
    transform = np.array([[1, 0, 0], [-1, 1, 0], [0, 1, 1]])
    for other, size in (
        (dense(in_another_cell(skewed(), transform), 7, guest=guest), 1),
        (dense(supercell(skewed(), (2, 1, 1)), 8, guest=guest), 2),
        (dense(skewed(), 9, copies=(4, 3, 2), guest=guest), 1),
    ):
        wanted, error = size * first.molecules.value, size * first.molecules.stderr
        near(other.molecules, float(wanted), float(error))


@pytest.mark.parametrize("guest", [sphere(120.0, 2.8), rod(80.0, 2.5)], ids=["sphere", "rod"])
def test_energies_are_kept_up_to_date(guest):
    force = ForceField("x", SHORT.atoms, cutoff=6.0, shifted=False, tail=True)
    field = host_field(skewed(), force, guest, spacing=0.4)
    frame = box_of(field)
    chain = empty_chain(field, frame, (0,))
    out = np.empty((50, FIELDS))
    assert run(frame, places_of(field, frame, T), chain, 30.0, 1 / T, 200, out)
    assert chain.molecules[0] > 5
    np.testing.assert_allclose(total_energy(frame, chain), chain.energy, rtol=1e-9)
    count = int(chain.molecules[0])
    arms = chain.place[1:, :, :count] - chain.place[0, :, :count]
    lengths = np.linalg.norm(np.moveaxis(arms, 1, -1) @ frame.lattice, axis=-1)
    np.testing.assert_allclose(lengths, 1.1, rtol=1e-9) if len(arms) else None
    assert (chain.tally[:, 1] > 0).sum() == (4 if len(guest.sites) > 1 else 3)


def test_the_tail_is_what_an_even_gas_beyond_the_cutoff_adds():
    """N²/2V ∫ u 4πr² dr."""
    force = ForceField("x", {}, cutoff=7.0, shifted=False, tail=True)
    field = host_field(box(15.0), force, sphere(120.0, 3.0), spacing=1.0)
    frame = box_of(field)
    chain = empty_chain(field, frame, (0,))
    chain.place[0, :, 1] = 0.5
    chain.molecules[0] = 2

    def shell(r):
        return 4 * math.pi * r**2 * 480.0 * ((3.0 / r) ** 12 - (3.0 / r) ** 6)

    wanted = 2 / 15.0**3 * quad(shell, 7.0, np.inf)[0]
    assert total_energy(frame, chain)[1] == pytest.approx(wanted, rel=1e-9)


def test_the_same_seed_gives_the_same_result_and_another_does_not():
    one, two, other = dense(skewed(), 1), dense(skewed(), 1), dense(skewed(), 2)
    assert one.molecules.value == two.molecules.value
    assert one.molecules.value != other.molecules.value


def test_chains_grow_until_the_wanted_precision():
    field = host_field(skewed(), SHORT, sphere(), spacing=0.4)
    short = Schedule(burn_in=40, records=100)
    wanted = Schedule(burn_in=40, records=100, precision=0.03)
    first = uptake(field, temperature=T, pressure=1e5, schedule=short)
    found = uptake(field, temperature=T, pressure=1e5, schedule=wanted)
    assert first.records == 100
    assert found.records > 100
    assert float(found.loading.stderr) <= 0.03 * float(found.loading.value)
    most = Schedule(burn_in=40, records=100, precision=1e-6, most=300)
    assert uptake(field, temperature=T, pressure=1e5, schedule=most).records == 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1.0}, "`temperature` must be finite and positive; it is -1"),
        ({"pressure": math.nan}, "`pressure` must be finite and positive; it is nan"),
        ({"fugacity": 0.0}, "`fugacity` must be finite and positive; it is 0"),
        ({"copies": (1, 1, 1)}, "`copies` of skewed must be at least .* they are"),
    ],
)
def test_bad_conditions_are_refused(change, message):
    field = host_field(skewed(), SHORT, sphere(), spacing=0.5)
    with pytest.raises(ValueError, match=message):
        uptake(field, **{"temperature": T, "pressure": 1e5, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"burn_in": 3}, "`burn_in` must be at least 20; it is 3"),
        ({"records": 1}, "`records` must be at least 20; it is 1"),
        ({"chains": 1}, "`chains` must be at least 2; it is 1"),
        ({"precision": 2.0}, r"`precision` must lie in \(0, 1\), or be None; it is 2"),
        ({"most": 10}, "`most` must be at least `records`, 2000; it is 10"),
        ({"moves": 0.0}, "`moves` must be positive; it is 0"),
    ],
)
def test_bad_schedules_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**change)


def test_molecules_without_a_size_are_refused_when_they_fill_the_box():
    field = host_field(box(12.0), SHORT, sphere(epsilon=1e-12, sigma=4.0))
    pressure = pressure_of(5000.0, 12.0**3)
    with pytest.raises(TooDense, match="molecules filled the box"):
        uptake(field, temperature=T, pressure=pressure, fugacity=pressure)
