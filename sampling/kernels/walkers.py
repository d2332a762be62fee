"""What every kernel is given, and what it gives back."""

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

from sampling.hamiltonian import ClusterHamiltonian


class Walkers(NamedTuple):
    """Independent walkers and their conditions; a kernel changes the first four in place.

    The bias of a walker with n_t occupied sites on sublattice t: filling one more site of s costs
    `offset`_s + Σ_t `slope`_st n_t + `self_term`_s.

    Attributes:
        occupation: uint8 [walker, site].
        state: of the walkers' generators, uint32 [walker, word].
        order: of the sites in the last sweep, int64 [site], for kernels that shuffle.
        order_state: generator of the site orders, uint32 [4].
        beta: 1/k_BT (1/eV), float64 [walker].
        slope: eV, float64 [walker, s, t].
        offset: eV, float64 [walker, s].
        self_term: eV, float64 [walker, s].
    """

    occupation: np.ndarray
    state: np.ndarray
    order: np.ndarray
    order_state: np.ndarray
    beta: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    self_term: np.ndarray


class Records(NamedTuple):
    """What the walkers did. The last record is that of the state they ended in.

    Attributes:
        filled: occupied sites of each sublattice, int32 [walker, sample, sublattice].
        energy: quanta, without the constant, int64 [walker, sample].
        accepted: moves accepted, int64 [walker].
    """

    filled: np.ndarray
    energy: np.ndarray
    accepted: np.ndarray

    @staticmethod
    def empty(walkers: int, samples: int, sublattices: int) -> "Records":
        """Records to be written."""
        return Records(
            filled=np.zeros((walkers, samples, sublattices), np.int32),
            energy=np.zeros((walkers, samples), np.int64),
            accepted=np.zeros(walkers, np.int64),
        )


@runtime_checkable
class Kernel(Protocol):
    """A way to move walkers that leaves their ensemble as it is.

    Attributes:
        name: changes whenever the histories that the kernel makes change.
        words: length of a walker's generator state.
        conserves: whether the number of occupied sites stays as it was at the start.
    """

    words: ClassVar[int]
    conserves: ClassVar[bool]

    @property
    def name(self) -> str: ...

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
        """Move by `burn_in` sweeps, then by `stride` more before each of `samples` records.

        A walker's history depends on its own entries alone, not on its companions or `threads`.
        """
        ...
