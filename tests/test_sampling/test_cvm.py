"""The tetrahedron approximation: closed forms, known transition temperatures, and Monte Carlo."""

from dataclasses import replace
from functools import reduce
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from boxes import HCP, expansion_from, expansion_on, ideal_gas
from scipy.optimize import brentq, fsolve

import idnn.free_energy
from idnn.free_energy import FreeEnergy, IdealMixing, WithGradient, chemical_potential
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling import aim, candidates
from sampling.clusters import illustrative_expansion
from sampling.cvm import ClusterVariation, NoHomogeneousState
from sampling.ensemble import Schedule
from sampling.label import LabelTask, label
from sampling.lattice import Supercell
from sampling.mean_field import MeanField
from sampling.prototypes import PROTOTYPES, build

EXPANSION = illustrative_expansion()
SITE, PAIR, SECOND, _, _, TRIANGLE, TETRAHEDRON = [
    orbit.clusters[..., :3] for orbit in EXPANSION.orbits
]
J = 0.02


def eta_at(*x):
    return FCC_L12.order_parameters(torch.tensor(x, dtype=torch.float64))


def states(count, seed=1, least=0.02, most=0.98):
    x = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return FCC_L12.order_parameters(least + (most - least) * x)


def close(found, expected, atol):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def ising(coupling, reduced_temperature):
    """E = coupling Σ σσ over nearest neighbours, at k_BT / |coupling|."""
    kelvin = reduced_temperature * abs(coupling) / BOLTZMANN_EV
    return ClusterVariation(expansion_from([PAIR], [0.0, coupling]), kelvin)


def nearest_alone():
    """A site energy, nearest-neighbour pairs, triangles and tetrahedra."""
    return expansion_from([SITE, PAIR, TRIANGLE, TETRAHEDRON], [0.3, -0.05, 0.02, 0.006, -0.009])


@pytest.mark.parametrize("fractions", [(0.3, 0.4, 0.5, 0.6), (1e-6, 0.999999, 2e-6, 0.5)])
def test_without_interactions_it_is_ideal_mixing(fractions):
    eta = eta_at(*fractions)
    f, ideal = ClusterVariation(ideal_gas(), 900.0), IdealMixing(FCC_L12.q, 900.0)
    close(f(eta), ideal(eta), 1e-14)
    close(f.gradient(eta), ideal.gradient(eta), 1e-12)
    expected = idnn.free_energy.hessian(ideal, eta)
    # The largest entry is k_BT/x ~ 1e5 eV: 14 digits of it.
    close(f.hessian(eta), expected, 1e-14 * float(expected.abs().max()))


def test_clusters_outside_the_tetrahedron_are_those_of_the_mean_field():
    """Points, second and further pairs, and a triplet that is not of nearest neighbours."""
    wide = np.array([[[0, 0, 0], [1, 0, 0], [-1, 0, 0]], [[0, 0, 0], [1, 1, -1], [1, 0, 0]]])
    expansion = expansion_from([SITE, SECOND, wide], [0.1, -0.2, 0.03, 0.02])
    f, mean_field = ClusterVariation(expansion, 800.0), MeanField(expansion, FCC_L12, 800.0)
    eta = states(20)
    close(f(eta), mean_field(eta), 1e-14)
    close(f.gradient(eta), chemical_potential(mean_field, eta).detach(), 1e-12)
    close(f.hessian(eta), idnn.free_energy.hessian(mean_field, eta), 1e-11)


@pytest.mark.parametrize("name", ["L1_2", "L1_0"])
def test_a_perfect_order_has_the_energy_of_its_ordering(name):
    ordering = build({p.name: p for p in PROTOTYPES}[name], False)
    x = torch.zeros(4, dtype=torch.float64)
    x[: round(4 * ordering.occupation.mean())] = 1
    found = ClusterVariation(EXPANSION, 1000.0).energy(
        FCC_L12.order_parameters(x.clamp(2e-8, 1 - 2e-8))
    )
    # Defects on 2e-8 of the sites cost some 0.5 eV each.
    assert float(found) == pytest.approx(EXPANSION.predict([ordering])[0], abs=1e-7)


def nickel_aluminium():
    """Nearest-neighbour interactions from first principles."""
    return expansion_from([PAIR, TRIANGLE, TETRAHEDRON], [0.0, 0.0707, 0.0119, -0.0235])


def second_cumulant(expansion, x):
    """Variance of the energy per site of random alloys of given fractions on the sublattices.

    Each spin is its mean and a rest; products of rests of different sites are uncorrelated. Single
    rests drop out: their sum is fixed with the fractions.
    """
    box = Supercell(FCC_L12, 3)
    mean = (1 - 2 * x)[box.sublattice]
    rests = {}
    for interaction, orbit in zip(expansion.eci[1:], expansion.orbits, strict=True):
        for cluster in box.index(box.sites[:, None, None] + orbit.clusters[..., :3]).reshape(
            -1, orbit.order
        ):
            for order in range(2, orbit.order + 1):
                for chosen in combinations(cluster.tolist(), order):
                    others = [s for s in cluster.tolist() if s not in chosen]
                    key = tuple(sorted(chosen))
                    rests[key] = rests.get(key, 0.0) + interaction * mean[others].prod()
    return sum(c**2 * (1 - mean[list(key)] ** 2).prod() for key, c in rests.items()) / 108


def test_at_high_temperature_it_is_exact_to_the_second_cumulant():
    expansion = nearest_alone()
    x = np.array([0.2, 0.35, 0.6, 0.85])
    eta = eta_at(*x)
    variance = second_cumulant(expansion, x)

    def left_over(kelvin):
        f, mean_field = ClusterVariation(expansion, kelvin), MeanField(expansion, FCC_L12, kelvin)
        return float(f(eta) - mean_field(eta)) + variance / (2 * BOLTZMANN_EV * kelvin)

    coarse, fine = left_over(20_000.0), left_over(40_000.0)
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.1)
    assert abs(fine) < 0.1 * variance / (2 * BOLTZMANN_EV * 40_000.0)


def test_the_gradient_and_the_hessian_are_limits_of_difference_quotients():
    f = ClusterVariation(EXPANSION, 1000.0)
    eta = states(5, least=0.1, most=0.9)

    def misses(step):
        shift = step * torch.eye(4, dtype=torch.float64)
        above, below = eta[:, None] + shift, eta[:, None] - shift
        slope = (f(above) - f(below)) / (2 * step)
        curvature = (f.gradient(above) - f.gradient(below)) / (2 * step)
        return [
            float((slope - f.gradient(eta)).norm()),
            float((curvature - f.hessian(eta)).norm()),
        ]

    orders = np.log2(np.array(misses(4e-3)) / misses(2e-3))
    np.testing.assert_allclose(orders, 2, atol=0.1)
    np.testing.assert_array_less(misses(1e-4), [1e-6, 1e-4])


def test_torch_differentiates_it_by_its_closed_forms():
    f = ClusterVariation(EXPANSION, 1000.0)
    eta = states(6).reshape(2, 3, 4)
    assert isinstance(f, FreeEnergy)
    assert isinstance(f, WithGradient)
    close(idnn.free_energy.hessian(f, eta), f.hessian(eta), 1e-12)
    x = eta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    close(slope, f.gradient(eta), 1e-12)
    (row,) = torch.autograd.grad(slope[..., 2].sum(), x)
    close(row, f.hessian(eta)[..., 2], 1e-12)


def test_the_energy_is_the_derivative_of_the_free_energy_by_the_inverse_temperature():
    """To second order of the difference quotient."""
    eta = states(5)

    def quotient(step):
        above, below = (
            beta * ClusterVariation(EXPANSION, 1 / beta)(eta) for beta in (1e-3 + step, 1e-3 - step)
        )
        return (above - below) / (2 * step)

    exact = ClusterVariation(EXPANSION, 1000.0).energy(eta)
    coarse, fine = (float((quotient(step) - exact).norm()) for step in (4e-5, 2e-5))
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.1)


def test_equivalent_states_have_equal_free_energies():
    f = ClusterVariation(EXPANSION, 1000.0)
    images = f(FCC_L12.images(states(10)))
    # 24 ways there, each to 1e-12 in the probabilities.
    close(images, images[:1].expand_as(images), 1e-12)


def on_axis(values, axis):
    """Two numbers as an array of four axes that varies along one."""
    return np.reshape(values, [2 if a == axis else 1 for a in range(4)])


def natural_iteration(x, energy):
    """Kikuchi's own algorithm (1974, doi:10.1063/1.1681115): F/k_BT of the given 2e/k_BT."""
    corners = [on_axis([1 - part, part], s) for s, part in enumerate(x)]
    z = reduce(np.multiply, corners)
    pairs = [tuple({0, 1, 2, 3} - set(pair)) for pair in combinations(range(4), 2)]
    for _ in range(300):
        superposed = reduce(np.multiply, [z.sum(rest, keepdims=True) for rest in pairs])
        z = np.exp(-energy / 2) * superposed**0.5
        for _ in range(30):
            for s, wanted in enumerate(corners):
                z = z * wanted / z.sum(tuple({0, 1, 2, 3} - {s}), keepdims=True)

    def x_log_x(p):
        return (p * np.log(p)).sum()

    entropy = 2 * x_log_x(z) - sum(x_log_x(z.sum(rest)) for rest in pairs)
    return (z * energy).sum() + entropy + 1.25 * sum(map(x_log_x, corners))


def test_it_is_what_natural_iteration_finds():
    kelvin, x = 900.0, np.array([0.9, 0.15, 0.3, 0.02])
    spin = [on_axis([1.0, -1.0], s) for s in range(4)]
    energy = sum(
        j * reduce(np.multiply, chosen)
        for order, j in ((2, 0.02), (3, 2 * 0.006), (4, 2 * -0.009))
        for chosen in combinations(spin, order)
    )
    kt = BOLTZMANN_EV * kelvin
    expected = kt * natural_iteration(x, energy / kt) + 0.3 - 0.05 * (1 - 2 * x).mean()
    found = float(ClusterVariation(nearest_alone(), kelvin)(eta_at(*x)))
    # The iteration converges linearly, and F to the square of that.
    assert found == pytest.approx(expected, abs=1e-10)


def test_the_fcc_ferromagnet_has_the_curie_point_of_the_tetrahedron_approximation():
    """k_BT_c/J = 10.03 (Kikuchi & Brush 1967, doi:10.1063/1.1711845); the exact one is 9.79."""
    middle = eta_at(0.5, 0.5, 0.5, 0.5)
    found = brentq(lambda t: float(ising(-J, t).hessian(middle)[0, 0]), 9.5, 12)
    assert found == pytest.approx(10.03, abs=0.01)


def test_the_fcc_antiferromagnet_orders_to_l1_0_where_the_tetrahedron_approximation_has_it():
    """k_BT/J = 1.893 at half filling (de Fontaine & Kikuchi 1978, NBS Special Publication 496)."""

    def layered(d):
        return eta_at(0.5 + d, 0.5 + d, 0.5 - d, 0.5 - d)

    def gained(t):
        f = ising(J, t)
        d = brentq(lambda d: float(f.gradient(layered(d))[1]), 0.35, 0.49)
        return float(f(layered(d)) - f(layered(0.0)))

    assert brentq(gained, 1.88, 1.90) == pytest.approx(1.893, abs=1e-3)


def test_the_fcc_antiferromagnet_orders_to_l1_2_where_the_tetrahedron_approximation_has_it():
    """Disorder and A₃B of one composition, equal in f and both μ: k_BT/J = 1.94 (ibid.)."""

    def differences(unknown):
        a, b, t = unknown
        f, c = ising(J, t), (a + 3 * b) / 4
        ordered, disordered = eta_at(a, b, b, b), eta_at(c, c, c, c)
        across = f.gradient(ordered)
        return [
            10 * float(f(ordered) - f(disordered)) / J,
            float(across[0] - f.gradient(disordered)[0]) / J,
            float(across[1]) / J,
        ]

    (found, _, status, _) = fsolve(differences, (0.9, 0.06, 1.94), full_output=True)
    assert status == 1
    assert found[2] == pytest.approx(1.94, abs=5e-3)


def test_it_converges_at_every_corner_of_the_polytope_at_low_temperature():
    """At 600 K, to composition 0.32.

    The gradient there loses no digit to fractions of 1e-6: it is the same from the other end of
    the spin axis.
    """
    strong = nickel_aluminium()
    turned = replace(strong, eci=strong.eci * [1, 1, -1, 1])
    levels = torch.tensor([1e-6, 1e-4, 0.02, 0.3, 0.999999], dtype=torch.float64)
    x = torch.cartesian_prod(*[levels] * 4)
    x = x[x.mean(-1) < 0.32]
    found = ClusterVariation(strong, 600.0).gradient(FCC_L12.order_parameters(x))
    mirrored = ClusterVariation(turned, 600.0).gradient(FCC_L12.order_parameters(1 - x))
    assert len(x) > 300
    # 1 − x has ten digits where x = 1e-6, and k_BT = 0.05 eV.
    close(mirrored, -found, 2e-10)


def test_states_that_end_on_cooling_are_refused_with_the_points():
    f = ising(J, 1.0)
    eta = torch.stack([eta_at(0.1, 0.1, 0.1, 0.1), eta_at(0.6, 0.35, 0.7, 0.45)])
    with pytest.raises(NoHomogeneousState, match=r"1 of 2 points .* index 1, .* Raise `temp") as e:
        f(eta)
    assert e.value.missing.tolist() == [False, True]
    assert f(eta[:1]).isfinite().all()
    # Followed from far above, the free energy is the same; just above the end it still exists.
    text = str(e.value)
    ends = float(text.split("about ")[1].split(" K")[0])
    warm = ClusterVariation(expansion_from([PAIR], [0.0, J]), 1.01 * ends)
    assert warm(eta).isfinite().all()
    cold = ClusterVariation(expansion_from([PAIR], [0.0, J]), 0.99 * ends)
    with pytest.raises(NoHomogeneousState):
        cold(eta)


def missing(f, eta):
    try:
        f(eta)
    except NoHomogeneousState as error:
        return error.missing
    return torch.zeros(len(eta), dtype=torch.bool)


def test_a_state_that_has_ended_does_not_come_back_on_further_cooling():
    """It would if another stationary state were taken for it."""
    eta = states(400)
    ended = [
        missing(ClusterVariation(nickel_aluminium(), kelvin), eta) for kelvin in (1800, 1200, 600)
    ]
    assert ended[0].any()
    for warm, cold in pairwise(ended):
        assert (cold | ~warm).all()
        assert cold.sum() > warm.sum()


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.2, float("nan")])
def test_fractions_outside_the_open_interval_are_refused(bad):
    with pytest.raises(ValueError, match=r"of the site fractions x` must lie in \[1e-08, 0.5\]"):
        ClusterVariation(EXPANSION, 1000.0)(eta_at(0.2, 0.3, 0.4, bad))


def test_other_lattices_species_and_temperatures_are_refused():
    with pytest.raises(ValueError, match="`basis` of the expansion"):
        ClusterVariation(expansion_on(HCP, [], [0.0]), 1000.0)
    with pytest.raises(ValueError, match="must be two per site"):
        ClusterVariation(replace(EXPANSION, species=(("Ni", "Al", "Ti"),)), 1000.0)
    with pytest.raises(ValueError, match="`temperature` must be finite and positive"):
        ClusterVariation(EXPANSION, float("nan"))


def test_monte_carlo_above_ordering_has_its_mu_and_energy():
    """256 sites at 2500 K. What is left are two meV, a ninth of Bragg–Williams' in μ."""
    kelvin, count = 2500.0, 12
    f, mean_field = (
        ClusterVariation(EXPANSION, kelvin),
        MeanField(EXPANSION, FCC_L12, kelvin),
    )
    eta = candidates.spread_over(FCC_L12, (0.05, 0.95), count, seed=3)
    stiffness = torch.full((4,), 3.0, dtype=torch.float64)
    kappa = aim.bias_centre(f, eta, stiffness).numpy()
    task = LabelTask(
        expansion=EXPANSION, system="fcc-L12", cells=(4,), temperature=kelvin, centre=kappa,
        stiffness=np.full_like(kappa, 3.0), point_seeds=tuple(range(count)), seed=1,
        schedule=Schedule(walkers=16, sweeps=1200, burn_in=100, stride=2),
    )  # fmt: skip
    points = label(task)
    found = torch.tensor(np.array([p.eta.value for p in points]))
    mu = torch.tensor(np.array([p.mu.value for p in points]))
    energy = torch.tensor([float(p.energy.value) for p in points]).double()

    def rmse(values, exact):
        return float((values.detach() - exact).square().mean().sqrt())

    # Standard errors are 0.9 meV in μ. Measured: 1.6 and 14.5; of the energies 1.4 and 8.1.
    assert rmse(f.gradient(found), mu) < 2.5e-3
    assert rmse(chemical_potential(mean_field, found), mu) > 10e-3
    assert rmse(f.energy(found), energy) < 2.5e-3
    assert rmse(mean_field(found) - mean_field.ideal(found), energy) > 6e-3
