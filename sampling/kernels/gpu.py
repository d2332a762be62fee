"""Biased Monte Carlo in torch: a block of independent sites of every walker changes at once.

Let a block of n sites lie in sublattice s, no two of them in a common cluster. Given the other
sites, its occupations σ have the probability

    p(σ) ∝ exp{−β [Σᵢ σᵢ (hᵢ + a) + ½ k m²]},    m = Σᵢ σᵢ,

with hᵢ the energy of filling site i, K the curvature of the bias in the sublattice counts M,
k = K_ss, and a = v_s + Σ_t K_st M_t with the block left out of M. The bias couples the sites only
through m. Proposed are sites filled independently, with odds exp{−β (hᵢ + a + k c)}, where c is
any number that depends on the other sites alone: so does then the proposal q, and since
½ k m² − k c m = ½ k (m − c)² up to a constant, p/q ∝ exp{−½ β k (m − c)²}. Accepting the whole
block with probability

    min(1, exp{−½ β k [(m′ − c)² − (m − c)²]})

is Metropolis–Hastings and leaves p invariant, exactly, for every c. Most is accepted with the mean
field c = ⟨m⟩_q. For many sites m is normal with variance w = Σᵢ pᵢ (1 − pᵢ) ≤ n/4, and the share
accepted is A = (4/π) arctan (1 + β k w)^−½; a state is left with probability (1 + β k w)^−½ at
least. Blocks are classes of the colouring, cut small enough for the A asked for.

Walkers are bytes, eight to a 64-bit word, so that one exclusive or forms eight products of spins
and one addition counts eight clusters. Fields, counts and energies are integers, and nothing
drifts. A site's odds are rounded to single precision, like a field wrong by about 1e-6 k_BT at
most, and its probability to be in the rarer state to a multiple of 2⁻³². The acceptance contains
counts alone, in double precision: rounding shifts the weights by that much and no further.

Random numbers are Philox 4×32-10 of (walker's key, its sweep, class, site), all in the walker's
state. On one device with one version of torch the same call gives the same bits. Between devices
the random numbers are the same, but single-precision exponentials may differ in their last bit:
chains part sooner or later, and their statistics agree.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, no_type_check

import numpy as np
import torch
from torch import Tensor

from sampling.hamiltonian import ClusterHamiltonian
from sampling.kernels.philox import LOW, uniform_words
from sampling.kernels.tables import Tables, Term, tables
from sampling.kernels.walkers import Records, Walkers

_WORD = 8  # walkers to a 64-bit word
_NEWTON_STEPS = 3  # Towards c = ⟨m⟩: where half the blocks are accepted, more gain nothing.
_FIXED_POINT = 2.0**20  # Sums of integers do not depend on their order.

Update = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Blocks:
    """Heat bath of whole blocks of sites of thousands of walkers; a sweep tries every site once.

    The state takes a byte per site and walker, a change of a class about 100 bytes, and as many as
    the largest orbit has clusters around a site, per site of the class and walker, for a moment.
    Walkers of the same block size run together; sizes are powers of two.

    Attributes:
        device: of torch, such as "cuda".
        acceptance: share of blocks accepted by half-filled sublattices, the worst case.
        compiled: fuse the arithmetic with `torch.compile`: seconds at the start, on a GPU for
            fewer passes over memory.

    Raises:
        ValueError: `acceptance` is not between 0 and 1, or there is no such device.
    """

    device: str = "cpu"
    acceptance: float = 0.6
    compiled: bool = False

    words: ClassVar[int] = 4
    conserves: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.acceptance < 1:
            raise ValueError(f"`acceptance` must lie between 0 and 1; it is {self.acceptance}.")
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"`device` {self.device!r}: torch sees no GPU here; use 'cpu'.")

    @property
    def name(self) -> str:
        """The size of the blocks is part of what makes a history."""
        return f"torch-blocks-1-{self.acceptance:g}"

    def advance(
        self,
        hamiltonian: ClusterHamiltonian,
        walkers: Walkers,
        *,
        burn_in: int,
        stride: int,
        samples: int,
        threads: int,
    ) -> Records:
        """Move and record; see `Kernel`."""
        here = tables(hamiltonian, self.device)
        energy = hamiltonian.energy_quanta(walkers.occupation)
        records = Records.empty(len(energy), samples, here.sublattices)
        sizes = block_sizes(walkers, self.acceptance)
        with _torch_threads(threads):
            for size in np.unique(sizes).tolist():
                mine = np.flatnonzero(sizes == size)
                board = Board(here, walkers, energy, mine, size, compiled=self.compiled)
                for sample in range(samples):
                    for _ in range(stride + (burn_in if sample == 0 else 0)):
                        board.sweep()
                    board.record(records, sample)
                board.leave(walkers, records)
        return records


def block_sizes(walkers: Walkers, acceptance: float) -> np.ndarray:
    """Sites in a walker's blocks: the largest power of two of which so many are accepted.

    From A = (4/π) arctan (1 + β k n/4)^−½, with the stiffest of a walker's sublattices.
    """
    k = np.diagonal(walkers.slope, axis1=1, axis2=2).max(1)
    largest = 4 * (math.tan(math.pi * acceptance / 4) ** -2 - 1)
    sites = np.clip(largest / np.maximum(walkers.beta * k, 1e-300), 1, walkers.occupation.shape[1])
    return 2 ** np.floor(np.log2(sites)).astype(np.int64)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Board:
    """Some of the walkers under way, one column each, padded to whole words; changed in place.

    Rows are sites, class by class, and the conditions those of `Walkers` with K = `slope`.
    """

    def __init__(
        self,
        tables: Tables,
        walkers: Walkers,
        energy: np.ndarray,
        mine: np.ndarray,
        size: int,
        *,
        compiled: bool = False,
    ) -> None:
        self.tables, self.mine = tables, mine
        lane = np.resize(mine, -(-len(mine) // _WORD) * _WORD)

        def columns(values: np.ndarray) -> Tensor:
            last = np.ascontiguousarray(np.moveaxis(values[lane], 0, -1))
            return torch.from_numpy(last).to(tables.order.device)

        self.occupation = columns(walkers.occupation)[tables.order]
        sites = (tables.sublattices, tables.sites_per_sublattice, -1)
        self.filled = columns(walkers.occupation).view(sites).sum(1)
        self.energy = columns(energy)
        self.state = columns(walkers.state.astype(np.int64))
        self.beta = columns(walkers.beta)
        self.slope = columns(walkers.slope)
        half = np.diagonal(walkers.slope, axis1=1, axis2=2) / 2
        self.pull = columns(walkers.offset + walkers.self_term - half)
        self.flipped = torch.zeros_like(self.energy)
        self.accepted = torch.zeros_like(self.energy)
        self.proposed = 0
        self.parts = [_parts(one.sites, size) for one in tables.classes]
        self.numbers = torch.arange(len(tables.classes), device=self.beta.device)
        most = max(one.sites + len(p) for one, p in zip(tables.classes, self.parts, strict=True))
        self.quads = torch.arange(-(-most // 4), device=self.beta.device)
        self.update = _compiled_update() if compiled else _update

    @torch.no_grad()
    def sweep(self) -> None:
        """Try every site once."""
        words = self.occupation.view(torch.int64)
        for number, one, parts in zip(self.numbers, self.tables.classes, self.parts, strict=True):
            s, mine = one.sublattice, self.occupation[one.first : one.first + one.sites]
            after, filled, energy, flipped, accepted = self.update(
                words, mine, one.terms, one.offset, self.tables.quantum,
                self.tables.sites_per_sublattice, parts, self.beta, self.slope[s, s],
                self._pull_from_other_sublattices(s), self.filled[s], self.state, number,
                self.quads,
            )  # fmt: skip
            mine.copy_(after)
            self.filled[s] = filled
            self.energy += energy
            self.flipped += flipped
            self.accepted += accepted
            self.proposed += len(parts)
        self.state[2] += 1
        self.state[3] = self.state[3] + (self.state[2] >> 32) & LOW
        self.state[2] &= LOW

    def _pull_from_other_sublattices(self, s: int) -> Tensor:
        pull = self.pull[s].clone()
        for t in range(self.tables.sublattices):
            if t != s:
                pull += self.slope[s, t] * self.filled[t]
        return pull

    @property
    def block_acceptance(self) -> np.ndarray:
        """Share of the proposed blocks that each walker accepted."""
        return self._rows(self.accepted) / self.proposed

    def record(self, records: Records, sample: int) -> None:
        """Write what the walkers are now."""
        records.filled[self.mine, sample] = self._rows(self.filled)
        records.energy[self.mine, sample] = self._rows(self.energy)

    def leave(self, walkers: Walkers, records: Records) -> None:
        """Hand the walkers back."""
        by_site = torch.empty_like(self.occupation)
        by_site[self.tables.order] = self.occupation
        walkers.occupation[self.mine] = self._rows(by_site)
        walkers.state[self.mine] = self._rows(self.state)
        records.accepted[self.mine] = self._rows(self.flipped)

    def _rows(self, columns: Tensor) -> np.ndarray:
        return columns[..., : len(self.mine)].movedim(-1, 0).cpu().numpy()


def _parts(sites: int, size: int) -> tuple[int, ...]:
    """Sizes, as equal as can be, of the fewest blocks of at most `size` sites."""
    blocks = math.ceil(sites / size)
    return tuple(len(part) for part in np.array_split(np.arange(sites), blocks))


@no_type_check
def _update(
    words: Tensor,
    mine: Tensor,
    terms: tuple[Term, ...],
    offset: int,
    quantum: float,
    sites_per_sublattice: int,
    parts: tuple[int, ...],
    beta: Tensor,
    slope: Tensor,
    pull: Tensor,
    filled: Tensor,
    state: Tensor,
    number: Tensor,
    quads: Tensor,
) -> tuple[Tensor, ...]:
    """One class, block after block: occupation, its sublattice's count, energy, flips, accepted."""
    cost = _filling_cost(words, mine, terms, offset)
    field = cost.float() * (beta * quantum).float()
    place = number, state[2], state[3]
    random = uniform_words(len(mine) + len(parts), quads, state[:2], place)
    accepted, after = 0, []
    for block, (old, near, dice) in enumerate(
        zip(mine.split(parts), field.split(parts), random[: len(mine)].split(parts), strict=True)
    ):
        before = old.sum(0)
        rest = filled - before
        elsewhere = sites_per_sublattice - len(old)
        alone = near + (beta * (pull + slope * rest)).float()
        guess = rest.double() / elsewhere if elsewhere else torch.full_like(beta, 0.5)
        mean = _mean_field(alone, beta * slope, len(old) * guess)
        exponent = alone + (beta * slope * mean).float()
        uniform = (dice.float() + 0.5) * 2.0**-32
        new = (uniform < torch.sigmoid(-exponent.abs())) ^ (exponent < 0)
        count = new.sum(0)
        change = -0.5 * beta * slope * ((count - mean) ** 2 - (before - mean) ** 2)
        accept = (random[len(mine) + block].double() + 0.5) * 2.0**-32 < change.clamp(max=0).exp()
        filled = filled + accept * (count - before)
        accepted = accepted + accept.long()
        after.append(torch.where(accept, new, old.bool()).byte())
    now = torch.cat(after)
    step = now.int() - mine.int()
    return now, filled, (cost * step).sum(0), step.abs().sum(0), accepted


@no_type_check
def _filling_cost(words: Tensor, mine: Tensor, terms: tuple[Term, ...], offset: int) -> Tensor:
    """Energy in quanta of filling each site of a class, int32 [site, walker]."""
    cost = torch.full_like(mine, offset, dtype=torch.int32)
    for slope, others in terms:
        odd = words.index_select(0, others[0].flatten())
        for k in range(1, len(others)):
            odd = odd ^ words.index_select(0, others[k].flatten())
        count = odd.view(*others.shape[1:], -1).sum(1).view(torch.uint8)
        cost = torch.add(cost, count, alpha=slope)
    return cost


@no_type_check
def _mean_field(alone: Tensor, coupling: Tensor, mean: Tensor) -> Tensor:
    """Solution of c = Σ 1/(1 + exp(alone + coupling c)) near enough, Newton's steps bracketed."""
    low, high = torch.zeros_like(mean), torch.full_like(mean, len(alone))
    for _ in range(_NEWTON_STEPS):
        share = torch.sigmoid(-(alone + (coupling * mean).float()))
        excess = mean - _total(share)
        low, high = torch.where(excess < 0, mean, low), torch.where(excess < 0, high, mean)
        step = mean - excess / (1 + coupling * _total(share * (1 - share)))
        mean = torch.where((low <= step) & (step <= high), step, (low + high) / 2)
    return mean


@no_type_check
def _total(share: Tensor) -> Tensor:
    """Sum over sites in fixed point."""
    return (share * _FIXED_POINT).int().sum(0).double() / _FIXED_POINT


@cache
def _compiled_update() -> Update:
    return torch.compile(_update, dynamic=False)
