"""Walkers at rest: where chains start, and where they continue."""

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64, UInt8, UInt32

from idnn.files import write_atomically
from sampling.kernels.walkers import Kernel
from sampling.lattice import Supercell


@dataclass(frozen=True, eq=False)
class Chains:
    """The state of all walkers of a run, from which `sample` continues bit for bit.

    Two runs of n sweeps, the second from the first's chains and without burn-in, make the records
    of one run of 2n. Other conditions may follow: an annealing run is a row of such runs.

    Attributes:
        kernel: name of the kernel that made them; no other can continue them.
        occupation: 1 where a site holds the second species.
        state: of the walkers' generators.
        order: of the sites in the last sweep.
        order_state: of the generator of site orders.
        sweeps: done so far, burn-in included.
    """

    kernel: str
    occupation: UInt8[np.ndarray, "batch walker site"]
    state: UInt32[np.ndarray, "batch walker word"]
    order: Int64[np.ndarray, " site"]
    order_state: UInt32[np.ndarray, " word4"]
    sweeps: int

    def save(self, path: Path) -> None:
        """Write a NumPy archive, all or nothing.

        Raises:
            CannotWrite: the disk is full or refuses.
        """
        archive = io.BytesIO()
        np.savez_compressed(archive, **{f.name: getattr(self, f.name) for f in fields(self)})
        write_atomically(path, archive.getvalue())

    @staticmethod
    def load(path: Path) -> "Chains":
        """Read what `save` wrote; nothing in the file is executed.

        Raises:
            ValueError: the file holds something else, or only a part.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                entries = {f.name: archive[f.name] for f in fields(Chains)}
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} holds no chains that `Chains.save` wrote: {error}."
            ) from error
        kernel, sweeps = str(entries.pop("kernel")), int(entries.pop("sweeps"))
        return Chains(kernel=kernel, sweeps=sweeps, **entries)


def fresh_chains(
    kernel: Kernel,
    box: Supercell,
    *,
    walkers: int,
    seed: int,
    point_seeds: tuple[int, ...],
    occupation: UInt8[np.ndarray, "batch walker site"] | None = None,
) -> Chains:
    """Chains about to start, at the given occupations or at random ones.

    At random means: each walker from sublattice fractions of its own, drawn uniformly.
    """
    sources = [
        [np.random.SeedSequence(seed, spawn_key=(point, walker)) for walker in range(walkers)]
        for point in point_seeds
    ]
    if occupation is None:
        occupation = np.array([[_anywhere(box, source) for source in row] for row in sources])
    return Chains(
        kernel=kernel.name,
        occupation=occupation,
        state=np.array(
            [[source.generate_state(kernel.words) for source in row] for row in sources]
        ),
        order=np.arange(len(box.sites)),
        order_state=np.random.SeedSequence(seed).generate_state(4),
        sweeps=0,
    )


def _anywhere(box: Supercell, source: np.random.SeedSequence) -> UInt8[np.ndarray, " site"]:
    random = np.random.default_rng(source)
    fractions = random.random(box.system.dimension)[box.sublattice]
    return (random.random(len(fractions)) < fractions).astype(np.uint8)


def scattered(
    box: Supercell, filled: Int[np.ndarray, "batch d"], *, walkers: int, seed: int
) -> UInt8[np.ndarray, "batch walker site"]:
    """Random occupations with given numbers of occupied sites on every sublattice.

    Raises:
        ValueError: a number is negative or above the sites of a sublattice.
    """
    sites = box.sites_per_sublattice
    if not ((filled >= 0) & (filled <= sites)).all():
        raise ValueError(
            f"`filled` must lie in [0, {sites}], the sites of a sublattice; it is "
            f"{filled.tolist()}."
        )
    ordered = np.arange(sites) < filled[:, None, :, None]
    copies = np.repeat(ordered, walkers, axis=1).astype(np.uint8)
    mixed = np.random.default_rng(seed).permuted(copies, axis=-1)
    return mixed.reshape(len(filled), walkers, -1)
