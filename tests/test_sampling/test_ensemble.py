"""sample(): exact averages under the umbrella, reproducibility, refusals."""

from dataclasses import dataclass, replace

import jaxtyping
import numpy as np
import pytest
from boxes import LAYERS, Q, all_states, boltzmann, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.chains import Chains, scattered
from sampling.clusters import illustrative_expansion
from sampling.ensemble import LANES, EnergyMismatch, Schedule, sample
from sampling.estimate import chemical_potential, ergodic_mean, hessian
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.cpu import Lanes
from sampling.kernels.flips import Flips
from sampling.kernels.swaps import Swaps
from sampling.lattice import Supercell

SHORT = Schedule(walkers=16, sweeps=20, burn_in=5, stride=2)


@pytest.mark.parametrize("kernel", [LANES, Flips()])
@pytest.mark.parametrize(
    ("temperature", "centre", "stiffness", "field"),
    [
        (1000.0, (0.30, 0.10), (1.0, 1.0), (0.0, 0.0)),
        (1000.0, (0.90, -0.30), (0.5, 2.0), (0.1, -0.2)),
        (2000.0, (0.50, 0.00), (0.0, 0.0), (0.0, 0.0)),
        (1500.0, (0.00, 0.00), (0.0, 0.0), (0.15, -0.1)),
        (1000.0, (0.40, 0.00), (1.5, 0.0), (0.0, 0.0)),
        (500.0, (0.20, 0.15), (2.0, 1.0), (0.0, 0.0)),
    ],
    ids=["umbrella", "umbrella and field", "free", "semi-grand", "VCSGC", "cold"],
)
def test_averages_equal_exact_enumeration(kernel, temperature, centre, stiffness, field):
    hamiltonian = ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, 2))
    umbrella = Umbrella(LAYERS, np.array([centre]), np.array([stiffness]), np.array([field]))
    samples = sample(
        hamiltonian, umbrella, temperature=temperature, seed=11, kernel=kernel,
        schedule=Schedule(walkers=128, sweeps=3000, burn_in=200, stride=4),
    )  # fmt: skip
    weight, energy, states = boltzmann(hamiltonian, umbrella[:1], temperature, all_states(16))
    mean, inner = weight @ states, weight @ energy
    deviation = states - mean
    covariance = deviation.T @ (weight[:, None] * deviation)

    eta = ergodic_mean(samples.eta)
    assert eta.ergodic.all()
    assert (np.abs(eta.mean.value[0] - mean) < 4 * eta.mean.stderr[0]).all()
    found = ergodic_mean(samples.energy[..., None])
    assert abs(found.mean.value[0, 0] - inner / 16) < 4 * found.mean.stderr[0, 0]
    heat = ((16 * samples.energy[0] - inner) ** 2).mean(0)  # k_BT² C_V of each walker
    assert abs(heat.mean() - weight @ (energy - inner) ** 2) < 4 * heat.std() / np.sqrt(127)

    curvature = hessian(samples)
    thermal = BOLTZMANN_EV * temperature / 16
    expected = thermal * np.linalg.inv(covariance) - 2 * np.diag(stiffness)
    assert (np.abs(curvature.value[0] - expected) < 4 * curvature.stderr[0]).all()
    mu = chemical_potential(samples)
    residual = mu.value[0] - (
        umbrella.chemical_potential(mean[None])[0] + expected @ (eta.mean.value[0] - mean)
    )
    assert (np.abs(residual) < 4 * mu.stderr[0]).all()


def test_a_semi_grand_run_is_its_umbrella_without_curvature():
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    field = np.array([[0.3, 0.1, 0.0, -0.1]])
    settings = {"temperature": 1500.0, "schedule": SHORT, "seed": 3}
    semi_grand = sample(hamiltonian, Umbrella.semi_grand(FCC_L12, field), **settings)
    same = Umbrella(FCC_L12, np.full((1, 4), 0.7), np.zeros((1, 4)), field)
    assert (sample(hamiltonian, same, **settings).eta == semi_grand.eta).all()
    assert (chemical_potential(semi_grand).value == field).all()


def umbrellas(rows):
    x = np.random.default_rng(4).random((7, 4))[rows]
    return Umbrella(FCC_L12, x @ Q.T, np.tile([5.0, 3.0, 3.0, 3.0], (len(x), 1)))


def run(rows, **changes):
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    settings = {"temperature": 1000.0, "schedule": SHORT, "seed": 9, "point_seeds": tuple(rows)}
    return sample(hamiltonian, umbrellas(rows), **(settings | changes))


def test_a_point_does_not_depend_on_the_points_that_share_its_call():
    together, alone = run(range(7)), run([5])
    shuffled = run([6, 5, 0])
    for other, row in ((alone, 0), (shuffled, 1)):
        assert (together.eta[5] == other.eta[row]).all()
        assert (together.energy[5] == other.energy[row]).all()
        assert together.acceptance[5] == other.acceptance[row]


def test_seeds_make_chains_and_nothing_else_does():
    first = run([1, 2])
    assert (run([1, 2]).eta == first.eta).all()
    assert (run([1, 2], seed=10).eta != first.eta).any((1, 2, 3)).all()
    assert (run([1, 2], point_seeds=(8, 9)).eta != first.eta).any((1, 2, 3)).all()
    walkers = np.moveaxis(first.eta[0], 1, 0).reshape(SHORT.walkers, -1)
    assert len(np.unique(walkers, axis=0)) == len(walkers)


def test_more_walkers_leave_the_first_ones_as_they_were():
    few, many = run([3]), run([3], schedule=replace(SHORT, walkers=70))
    assert (many.eta[:, :, :16] == few.eta).all()


def test_records_are_the_requested_sweeps():
    every = run([2], schedule=Schedule(walkers=4, sweeps=12, burn_in=3, stride=1))
    third = run([2], schedule=Schedule(walkers=4, sweeps=12, burn_in=3, stride=3))
    assert third.eta.shape == (1, 4, 4, 4)
    assert (third.eta == every.eta[:, 2::3]).all()
    assert (third.energy == every.energy[:, 2::3]).all()


KERNELS = [LANES, Flips(), Swaps(), Swaps(within_sublattices=True)]
IDS = [kernel.name for kernel in KERNELS]


def start_of(points, walkers=16):
    filled = np.array([[6, 3, 1, 0], [0, 8, 2, 4], [3, 3, 3, 3]])[:points]
    return scattered(Supercell(FCC_L12, 2), filled, walkers=walkers, seed=8)


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_each_point_has_its_own_temperature_and_start(kernel):
    start, kelvin = start_of(3), np.array([700.0, 1500.0, 3000.0])
    together = run([0, 1, 2], temperature=kelvin, start=start, kernel=kernel)
    assert (together.temperature == kelvin).all()
    for i in range(3):
        alone = run([i], temperature=kelvin[i], start=start[i : i + 1], kernel=kernel)
        assert (alone.eta[0] == together.eta[i]).all()
        assert (alone.energy[0] == together.energy[i]).all()
        assert (together.point(i).chains.occupation == alone.chains.occupation).all()


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_results_depend_neither_on_threads_nor_on_walkers_of_other_jobs(kernel):
    settings = {"schedule": replace(SHORT, walkers=50), "start": start_of(3, 50), "kernel": kernel}
    one, three = (run([0, 1, 2], threads=threads, **settings) for threads in (1, 3))
    assert (one.eta == three.eta).all()
    assert (one.energy == three.energy).all()
    assert (one.acceptance == three.acceptance).all()
    assert (one.chains.state == three.chains.state).all()
    last = run([2], **settings | {"start": settings["start"][2:]})
    assert (last.eta[0] == one.eta[2]).all()
    assert (last.chains.order == one.chains.order).all()


@pytest.mark.parametrize("kernel", KERNELS, ids=IDS)
def test_two_runs_of_n_sweeps_are_one_of_2n(kernel, tmp_path):
    start = start_of(2)
    whole = run([0, 1], schedule=replace(SHORT, sweeps=24), start=start, kernel=kernel)
    first = run([0, 1], schedule=replace(SHORT, sweeps=8), start=start, kernel=kernel)
    first.chains.save(tmp_path / "chains.npz")
    second = run(
        [0, 1], schedule=replace(SHORT, sweeps=16, burn_in=0), kernel=kernel,
        start=Chains.load(tmp_path / "chains.npz"),
    )  # fmt: skip
    assert (np.concatenate([first.eta, second.eta], axis=1) == whole.eta).all()
    assert (np.concatenate([first.energy, second.energy], axis=1) == whole.energy).all()
    for name in ("occupation", "state", "order", "order_state", "sweeps"):
        assert np.array_equal(getattr(second.chains, name), getattr(whole.chains, name)), name
    assert whole.chains.sweeps == 29


@dataclass(frozen=True)
class Faulty(Lanes):
    def advance(self, hamiltonian, walkers, **length):
        records = super().advance(hamiltonian, walkers, **length)
        records.energy[3, -1] += 1
        return records


def test_a_kernel_that_loses_count_is_found_out():
    with pytest.raises(EnergyMismatch, match="1 of 16 walkers carry a wrong energy"):
        run([0], kernel=Faulty())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be finite and positive; it is 0"),
        ({"temperature": float("nan")}, "`temperature` must be finite and positive"),
        ({"seed": -1}, r"`seed` must be a whole number in \[0, 2\^64\); it is -1"),
        ({"point_seeds": (1,)}, r"`point_seeds` must hold one per point \(2\); it holds 1"),
        ({"point_seeds": (1, 2**32)}, r"`point_seeds` must be whole numbers in \[0, 2\^32\)"),
        ({"temperature": np.array([900.0, -1.0])}, "`temperature` must be finite and positive"),
        ({"temperature": np.full(3, 900.0)}, r"one per point \(2\); it holds 3"),
        ({"threads": 0}, "`threads` must be a whole number, at least 1; it is 0"),
        ({"kernel": Swaps()}, "`start` must be given to numba-swaps-1, which keeps the comp"),
        (
            {"start": start_of(1)},
            r"`start` must hold .* \(2, 16, 32\); .*\(1, 16, 32\)",
        ),
        ({"start": 2 * start_of(2)}, "`start` must hold 0 and 1 alone; it holds 2"),
    ],
)
def test_bad_runs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        run([0, 1], **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1.5}, "`seed` must be a whole number .* it is 1.5"),
        ({"seed": np.nan}, "`seed` must be a whole number .* it is nan"),
        ({"point_seeds": (1, 0.5)}, "`point_seeds` must be whole numbers .* one is 0.5"),
        ({"point_seeds": (1, np.nan)}, "`point_seeds` must be whole numbers .* one is nan"),
        ({"threads": np.nan}, "`threads` must be a whole number, at least 1; it is nan"),
        ({"threads": 1.5}, "`threads` must be a whole number, at least 1; it is 1.5"),
        ({"start": np.full((2, 16, 32), np.nan)}, "`start` must hold 0 and 1 alone; it holds nan"),
    ],
)
def test_numbers_of_another_kind_are_refused_by_name(monkeypatch, changes, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as a user runs it
    with pytest.raises(ValueError, match=message):
        run([0, 1], **changes)


def test_chains_of_another_kernel_are_refused():
    chains = run([0, 1]).chains
    with pytest.raises(ValueError, match="of kernel numba-metropolis-1, which numba-flips-1"):
        run([0, 1], kernel=Flips(), start=chains)


def test_an_umbrella_of_another_shape_is_refused():
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    four = np.zeros((1, 4))
    two_fields = Umbrella(FCC_L12, four, four, four)
    object.__setattr__(two_fields, "field", np.zeros((2, 4)))  # Else refused by the type checker.
    unlike = Umbrella(FCC_L12, four, four)
    object.__setattr__(unlike, "stiffness", np.zeros((2, 4)))
    for umbrella, message in (
        (Umbrella(FCC_L12, np.zeros(4), np.ones(4)), "`umbrella` must have `centre` and"),
        (unlike, r"shape \[point, d\]; they have \(1, 4\) and \(2, 4\)"),
        (two_fields, r"one number or of shape \(1, 4\); it has \(2, 4\)"),
        (Umbrella(LAYERS, four[:, :2], four[:, :2]), "'fcc-L12'; it is on those of 'fcc-layers'"),
    ):
        with pytest.raises(ValueError, match=message):
            sample(hamiltonian, umbrella, temperature=1000.0, schedule=SHORT, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"walkers": 0}, "`walkers` must be a whole number, at least 1; it is 0"),
        ({"burn_in": -1}, "`burn_in` must be a whole number, at least 0; it is -1"),
        ({"stride": 0}, "`stride` must be a whole number, at least 1; it is 0"),
        ({"sweeps": 3, "stride": 2}, "`sweeps` must hold at least two records"),
    ],
)
def test_bad_schedules_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**changes)


@pytest.mark.parametrize("length", [np.nan, np.inf, 2.5])
def test_lengths_that_are_no_whole_numbers_are_refused(length):
    schedule = Schedule()
    object.__setattr__(schedule, "sweeps", length)  # Else refused by the type checker.
    with pytest.raises(ValueError, match="`sweeps` must be a whole number, at least 1; it is"):
        schedule.__post_init__()
