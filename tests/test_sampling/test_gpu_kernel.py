"""The block kernel against published numbers, exact sums, closed forms and the CPU kernel."""

import numpy as np
import pytest
import torch
from boxes import LAYERS, Q, all_states, expansion_from, ideal_gas, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.cpu import Lanes
from sampling.kernels.gpu import Blocks, Board, block_sizes
from sampling.kernels.philox import philox
from sampling.kernels.tables import tables
from sampling.kernels.walkers import Walkers
from sampling.lattice import Supercell

WHOLE = 1 << 20
"""A block size above every class."""


def words(text):
    return tuple(torch.tensor(int(word, 16)) for word in text.split())


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_generator_gives_the_published_numbers(counter, key, expected):
    """Known answers of the authors' Random123 library, file tests/kat_vectors."""
    assert philox(words(counter), words(key)) == words(expected)


def bias(box, umbrella):
    """v and K of a quadratic V(M) = N Σφ(η−κ)², from its values at none, one and two atoms."""
    d = box.system.dimension
    eta = box.system.q.numpy() / box.sites_per_sublattice

    def value(counts):
        return len(box.sites) * umbrella.energy(eta @ counts)

    one, none = np.eye(d), value(np.zeros(d))
    first = np.array([value(a) - none for a in one])
    curvature = np.array([[value(a + b) - value(a) - value(b) + none for b in one] for a in one])
    return first - np.diag(curvature) / 2, curvature


def walkers_on(box, umbrella, temperature, count, seed, filled=0.5):
    """Random walkers under one umbrella, drawn without the library."""
    random = np.random.default_rng(seed)
    pull, curvature = bias(box, umbrella)
    return Walkers(
        occupation=(random.random((count, len(box.sites))) < filled).astype(np.uint8),
        state=random.integers(0, 2**32, (count, 4), dtype=np.uint32),
        order=np.arange(len(box.sites)),
        order_state=np.zeros(4, np.uint32),
        beta=np.full(count, 1 / (BOLTZMANN_EV * temperature)),
        slope=np.tile(curvature, (count, 1, 1)),
        offset=np.tile(pull, (count, 1)),
        self_term=np.tile(np.diag(curvature) / 2, (count, 1)),
    )


def rows(walkers, chosen):
    """Some of the walkers, or walkers repeated."""
    return walkers._replace(
        **{
            name: getattr(walkers, name)[chosen].copy()
            for name in ("occupation", "state", "beta", "slope", "offset", "self_term")
        }
    )


def board_of(hamiltonian, walkers, size=WHOLE, **options):
    energy = hamiltonian.energy_quanta(walkers.occupation)
    mine = np.arange(len(energy))
    return Board(tables(hamiltonian), walkers, energy, mine, size, **options)


def layered():
    """Pairs across the two sublattices of LAYERS only: a whole sublattice is one class."""
    across = [[(0, 0, 0), (0, 0, 1)]], [[(0, 0, 0), (1, 0, 1)]]
    return expansion_from([[[(0, 0, 0)]], *across], [0.0, 0.03, 0.05, -0.02])


@pytest.mark.parametrize(
    ("expansion", "stiffness", "acceptance"),
    [
        (layered, 0.0, None),
        (layered, 0.2, None),
        (layered, 2.0, None),
        (layered, 2.0, 0.6),
        (short_ranged, 2.0, 0.6),
    ],
)
def test_walkers_visit_all_states_with_their_boltzmann_weights(expansion, stiffness, acceptance):
    """χ² over the 65,536 states of 16 sites, ⟨η⟩ and ⟨E⟩; whole sublattices at once, or cut."""
    temperature, box, count = 1500.0, Supercell(LAYERS, 2), 30_000
    hamiltonian = ClusterHamiltonian.on(expansion(), box)
    umbrella = Umbrella(LAYERS, np.array([0.6, 0.2]), np.full(2, stiffness))
    walkers = walkers_on(box, umbrella, temperature, count, seed=2)
    size = WHOLE if acceptance is None else int(block_sizes(walkers, acceptance)[0])
    board = board_of(hamiltonian, walkers, size)
    for _ in range(40):
        board.sweep()

    states = all_states(16)
    eta = box.filled(states) / 8 @ LAYERS.q.numpy().T
    energy = hamiltonian.energy(states)
    cost = energy + 16 * umbrella.energy(eta)
    weight = np.exp(-(cost - cost.min()) / (BOLTZMANN_EV * temperature))
    weight /= weight.sum()

    occupation = board.occupation[torch.argsort(board.tables.order)].numpy()
    seen = np.bincount((1 << np.arange(16)) @ occupation[:, :count], minlength=2**16)
    expected = count * weight
    often = expected > 5
    chi2 = ((seen - expected)[often] ** 2 / expected[often]).sum()
    freedom = often.sum()
    if not often.all():
        rest = expected[~often].sum()
        chi2, freedom = chi2 + (seen[~often].sum() - rest) ** 2 / rest, freedom + 1
    assert freedom > 200
    assert abs(chi2 - (freedom - 1)) < 4 * np.sqrt(2 * freedom)

    for exact in (*eta.T, energy):
        mean = weight @ exact
        spread = np.sqrt(weight @ (exact - mean) ** 2)
        assert abs(seen @ exact / count - mean) < 4 * spread / np.sqrt(count)


def test_a_proposal_does_not_depend_on_what_it_replaces():
    """Two boards that differ in the first block alone become one where both accept everything."""
    box = Supercell(LAYERS, 4)
    hamiltonian = ClusterHamiltonian.on(layered(), box)
    umbrella = Umbrella(LAYERS, np.array([0.4, 0.1]), np.array([1.0, 1.0]))
    first = walkers_on(box, umbrella, 1500.0, 2000, seed=4)
    other = rows(first, np.arange(2000))
    other.occupation[:, :64] = walkers_on(box, umbrella, 1500.0, 2000, seed=5).occupation[:, :64]
    boards = [board_of(hamiltonian, walkers) for walkers in (first, other)]
    assert (boards[0].occupation != boards[1].occupation).any(0).all()
    for board in boards:
        board.sweep()
    both = torch.stack([board.accepted for board in boards]).eq(boards[0].proposed).all(0)
    assert both.sum() > 200
    assert torch.equal(boards[0].occupation[:, both], boards[1].occupation[:, both])
    assert torch.equal(boards[0].energy[both], boards[1].energy[both])


@pytest.mark.parametrize("stiffness", [0.5, 2.0, 8.0])
def test_block_acceptance_follows_the_closed_form(stiffness):
    """A = (4/π) arctan (1 + βkn/4)^−½ for half-filled sublattices of an ideal gas, n = 512."""
    box = Supercell(LAYERS, 8)
    hamiltonian = ClusterHamiltonian.on(ideal_gas(), box)
    umbrella = Umbrella(LAYERS, np.array([0.5, 0.0]), np.full(2, stiffness))
    walkers = walkers_on(box, umbrella, 1000.0, 256, seed=6)
    board = board_of(hamiltonian, walkers)
    for _ in range(20):
        board.sweep()
    burnt, board.accepted, board.proposed = board.proposed, torch.zeros_like(board.accepted), 0
    for _ in range(60):
        board.sweep()
    k = bias(box, umbrella)[1][0, 0]
    expected = 4 / np.pi * np.arctan((1 + walkers.beta[0] * k * 512 / 4) ** -0.5)
    found = board.block_acceptance
    assert burnt == 40
    # m is a whole number with σ ≥ 4 under the bias: the normal law is good to a few parts in 10³.
    assert abs(found.mean() - expected) < 4 * found.std(ddof=1) / 16 + 3e-3


@pytest.mark.parametrize("acceptance", [0.5, 0.8])
def test_blocks_are_cut_until_they_are_accepted_as_asked(acceptance):
    box = Supercell(LAYERS, 4)
    hamiltonian = ClusterHamiltonian.on(layered(), box)
    umbrella = Umbrella(LAYERS, np.array([0.5, 0.05]), np.full(2, 3.0))
    walkers = walkers_on(box, umbrella, 1500.0, 200, seed=7)
    size = int(block_sizes(walkers, acceptance)[0])
    assert 1 < size < 64  # of a class: there is something to cut
    board, uncut = board_of(hamiltonian, walkers, size), board_of(hamiltonian, walkers)
    for one in (board, uncut):
        for _ in range(25):
            one.sweep()
    assert board.block_acceptance.mean() > acceptance
    assert uncut.block_acceptance.mean() < board.block_acceptance.mean()


def test_averages_agree_with_the_cpu_kernel():
    """256 sites, ⟨η⟩ and ⟨E⟩ of three umbrellas, each at its own temperature."""
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 4))
    x = np.array([[0.6, 0.2, 0.2, 0.2], [0.3, 0.7, 0.5, 0.1], [0.2, 0.2, 0.3, 0.2]])
    stiffness = np.array([[5.0, 3.0, 3.0, 3.0], [2.0, 2.0, 2.0, 2.0], [1.0, 0.5, 0.5, 0.5]])
    umbrella = Umbrella(FCC_L12, x @ Q.T, stiffness)
    schedule = Schedule(walkers=128, burn_in=20, sweeps=12, stride=4)
    temperature = np.array([1500.0, 2500.0, 3000.0])
    results = [
        sample(
            hamiltonian, umbrella, temperature=temperature, schedule=schedule, seed=8, kernel=kernel
        )
        for kernel in (Lanes(), Blocks())
    ]
    for read in (lambda samples: samples.eta, lambda samples: samples.energy[..., None]):
        means = [read(samples).mean(1) for samples in results]
        error = np.sqrt(sum(m.var(1, ddof=1) / 128 for m in means))
        assert (error < 3e-3).all()
        assert (np.abs(means[0].mean(1) - means[1].mean(1)) < 4 * error).all()


def busy():
    """A box with clusters of every order and more than 255 of one orbit around a site."""
    random = np.random.default_rng(2)
    near = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (1, 0, -1)]
    clusters = [np.array([[(0, 0, 0), *near[:k]]]) for k in range(6)]
    grid = np.argwhere(np.ones((7, 7, 7))) - 3
    many = [[(0, 0, 0), tuple(v)] for v in grid if tuple(v) > (0, 0, 0)]
    expansion = expansion_from([*clusters, many], [0.0, *random.normal(0, 0.05, 6), 1e-3])
    return ClusterHamiltonian.on(expansion, Supercell(FCC_L12, 5))


@pytest.mark.parametrize(
    ("make", "sweeps"),
    [(busy, 3), (lambda: ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, 2)), 60)],
)
def test_counts_and_energies_are_those_of_the_occupation(make, sweeps):
    hamiltonian = make()
    box = hamiltonian.supercell
    d = box.system.dimension
    umbrella = Umbrella(box.system, np.full(d, 0.1), np.ones(d))
    walkers = walkers_on(box, umbrella, 3000.0, 13, seed=3, filled=0.95)
    start = walkers.occupation.copy()
    records = Blocks().advance(hamiltonian, walkers, burn_in=0, stride=1, samples=sweeps, threads=1)
    assert (records.energy[:, -1] == hamiltonian.energy_quanta(walkers.occupation)).all()
    assert (records.filled[:, -1] == box.filled(walkers.occupation)).all()
    assert (records.energy[:, 0] != records.energy[:, -1]).all()
    assert (records.accepted >= (walkers.occupation != start).sum(1)).all()
    assert (records.accepted <= sweeps * len(box.sites)).all()


@pytest.fixture(scope="module")
def mixed():
    """Walkers of unlike temperature and bias, which need blocks of unlike size."""
    box = Supercell(FCC_L12, 4)
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), box)
    umbrella = Umbrella(FCC_L12, np.array([0.3, 0.1, 0.1, 0.1]), np.full(4, 2.0))
    walkers = walkers_on(box, umbrella, 1000.0, 21, seed=9)
    walkers.beta[5:9] /= 30
    walkers.slope[15:] *= 5
    return hamiltonian, walkers


def advanced(mixed, chosen=slice(None), burn_in=0, stride=2, samples=3, threads=1):
    hamiltonian, walkers = mixed
    mine = rows(walkers, chosen)
    records = Blocks().advance(
        hamiltonian, mine, burn_in=burn_in, stride=stride, samples=samples, threads=threads
    )
    return mine, records


def test_a_walker_s_history_is_its_own(mixed):
    whole, records = advanced(mixed)
    assert len(np.unique(block_sizes(mixed[1], 0.6))) > 1
    for chosen in ([20], [6, 2, 17], list(range(12))):
        mine, some = advanced(mixed, chosen, threads=2)
        assert (mine.occupation == whole.occupation[chosen]).all()
        assert (mine.state == whole.state[chosen]).all()
        for one, other in zip(some, records, strict=True):
            assert (one == other[chosen]).all()
    repeated, _ = advanced((mixed[0], rows(mixed[1], [0] * 9)))
    assert (repeated.occupation == whole.occupation[0]).all()


def test_walkers_of_one_start_part_by_their_generators_alone(mixed):
    walkers = rows(mixed[1], [0] * 6)
    for word in range(4):
        walkers.state[word, word] += np.uint32(1)
    ends, _ = advanced((mixed[0], walkers))
    assert len(np.unique(ends.occupation, axis=0)) == 5


def test_two_short_runs_make_one_long_run(mixed):
    whole, records = advanced(mixed, burn_in=1, samples=4)
    part, first = advanced(mixed, burn_in=1, samples=1)
    rest, second = advanced((mixed[0], part), samples=3)
    assert (rest.occupation == whole.occupation).all()
    assert (np.concatenate([first.energy, second.energy], 1) == records.energy).all()
    assert (np.concatenate([first.filled, second.filled], 1) == records.filled).all()
    assert (first.accepted + second.accepted == records.accepted).all()


def test_the_count_of_sweeps_carries_into_its_upper_word():
    box = Supercell(LAYERS, 2)
    hamiltonian = ClusterHamiltonian.on(layered(), box)
    umbrella = Umbrella(LAYERS, np.zeros(2), np.ones(2))
    walkers = walkers_on(box, umbrella, 1000.0, 2, seed=1)
    walkers.state[:, 2:] = [[2**32 - 1, 7], [2**32 - 1, 2**32 - 1]]
    Blocks().advance(hamiltonian, walkers, burn_in=1, stride=1, samples=1, threads=1)
    assert walkers.state[:, 2:].tolist() == [[1, 8], [1, 0]]


@pytest.mark.parametrize("acceptance", [0.0, 1.0, -1.0, float("nan")])
def test_an_impossible_acceptance_is_refused(acceptance):
    with pytest.raises(ValueError, match="`acceptance` must lie between 0 and 1; it is"):
        Blocks(acceptance=acceptance)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="`device` 'cuda': torch sees no GPU here; use 'cpu'"):
        Blocks(device="cuda")


def same_walkers(mixed, kernel):
    """Share of walkers whose history after six sweeps is that of the plain CPU run."""
    hamiltonian, walkers = mixed
    mine = rows(walkers, slice(None))
    records = kernel.advance(hamiltonian, mine, burn_in=0, stride=2, samples=3, threads=1)
    assert (records.energy[:, -1] == hamiltonian.energy_quanta(mine.occupation)).all()
    return (mine.occupation == advanced(mixed)[0].occupation).all(1).mean()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_compiled_arithmetic_makes_the_same_moves(mixed):
    # 3e4 draws, each changed with probability 1e-6 by a last bit.
    assert same_walkers(mixed, Blocks(compiled=True)) > 0.9


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_makes_the_same_moves(mixed, compiled):
    assert same_walkers(mixed, Blocks(device="cuda", compiled=compiled)) > 0.9
