"""S(k) of the order-parameter fields in a homogeneous state, and the gradient energy it implies."""

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product

import numpy as np
from jaxtyping import Complex, Float, UInt8

from idnn.units import BOLTZMANN_EV, ELEMENTARY_CHARGE
from sampling.chains import Chains
from sampling.ensemble import Samples, Schedule, sample
from sampling.estimate import Estimate, jackknife_stderr
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell

_PAIRS = tuple(combinations_with_replacement(range(3), 2))
_QUARTETS = tuple(combinations_with_replacement(range(3), 4))


@dataclass(frozen=True, eq=False)
class StructureFactor:
    """S_ij(k) = N⟨ηᵢ(k) ηⱼ(−k)⟩ with ηᵢ(k) = Σ_s Q_is (1/N_s) Σ_{r∈s} σ(r) exp(−ik·r).

    r are the sites' positions and σ is 1 on a site of the second species. On fcc sublattices
    S_ii(k) of a disordered solution is the diffuse scattering at k from Γ (i = 0) and from the
    three X points; S_ij is real in the mean because every site is a centre of inversion.

    Attributes:
        wave_vectors: k (1/Å), one of each ±k, k = 0 left out.
        by_walker: mean over the states of each walker.
        samples: the records of η and energy of the same run, what there is to know at k = 0.
    """

    wave_vectors: Float[np.ndarray, "k 3"]
    by_walker: Float[np.ndarray, "walker k d d"]
    samples: Samples


@dataclass(frozen=True, eq=False)
class GradientEnergy:
    """K of F/N = ⟨f(η) + ½ Σ K_ij^{αβ} ∂_α ηᵢ ∂_β ηⱼ⟩ in one homogeneous state.

    K need not be positive: where atoms order, neighbours on a lattice prefer to differ, V(k) is
    greatest at Γ and K₀₀ of the composition is negative.

    Attributes:
        replicates: K_ij^{αβ} (eV Å² per site) of all walkers, then with each one left out.
        hessian: H_ij, the limit k → 0 of k_BT S⁻¹ (eV per site).
        misfit: root mean square of the residuals in units of their standard errors, one where
            H + Kk² + O(k⁴) describes the data.
    """

    replicates: Float[np.ndarray, "replicate d d 3 3"]
    hessian: Estimate
    misfit: float

    @property
    def tensor(self) -> Estimate:
        """K_ij^{αβ} (eV Å² per site)."""
        return _jackknife(self.replicates)

    @property
    def isotropic(self) -> Estimate:
        """⅓ Σ_α K_ij^{αα} (eV Å² per site), the mean over all directions."""
        return _jackknife(np.einsum("rijaa->rij", self.replicates) / 3)

    def along(self, normal: Float[np.ndarray, " 3"]) -> Estimate:
        """Σ K_ij^{αβ} n_α n_β (eV Å² per site) for fields that vary along `normal` alone."""
        n = np.asarray(normal) / np.linalg.norm(normal)
        return _jackknife(np.einsum("rijab,a,b->rij", self.replicates, n, n))


def joule_per_metre(gradient: float, *, site_volume: float) -> float:
    """κ = K/Ω (J/m) of the energy per volume ½ κ |∇η|², from K (eV Å² per site) and Ω (Å³)."""
    return gradient / site_volume * ELEMENTARY_CHARGE * 1e10


def structure_factor(
    hamiltonian: ClusterHamiltonian,
    umbrella: Umbrella,
    *,
    primitive_cell: Float[np.ndarray, "3 3"],
    longest: float,
    temperature: float,
    schedule: Schedule,
    seed: int,
    start: UInt8[np.ndarray, " site"] | None = None,
) -> StructureFactor:
    """Sample S(k) at the wave vectors of the box with 0 < |k| ≤ `longest`.

    The state must be homogeneous: a well that no walker leaves, or a stable solution. The umbrella
    acts on k = 0 alone: it couples only box averages, and other modes feel its hold on these
    through terms of order 1/N. S(k) is taken from every second record.

    Args:
        hamiltonian: energies on the box.
        umbrella: of a single point; a field alone in a well.
        primitive_cell: rows are the primitive lattice vectors (Å).
        longest: 1/Å; well inside the zone of the sublattices, π/a for fcc.
        temperature: K.
        schedule: walkers, sweeps, burn-in and stride.
        seed: of the run.
        start: occupation that all walkers start from; random ones if not given.

    Raises:
        ValueError: several points, a single walker, or no wave vector so short in this box.
    """
    if len(umbrella.centre) != 1 or schedule.walkers < 2:
        raise ValueError(
            "`umbrella` must hold one point and `schedule` at least two walkers; they hold "
            f"{len(umbrella.centre)} and {schedule.walkers}."
        )
    box = hamiltonian.supercell
    k = wave_vectors(box, primitive_cell, longest)
    phase = _phases(box, primitive_cell, k)
    total = np.zeros((schedule.walkers, len(k), *(box.system.dimension,) * 2))
    chains: Chains | np.ndarray | None = start
    if start is not None:
        chains = np.tile(start.astype(np.uint8), (1, schedule.walkers, 1))
    step = replace(schedule, sweeps=2 * schedule.stride)
    parts = []
    for _ in range(schedule.samples // 2):
        part = sample(
            hamiltonian, umbrella, temperature=temperature, schedule=step, seed=seed, start=chains
        )
        chains, step = part.chains, replace(step, burn_in=0)
        total += _products(box, phase, part.chains.occupation[0])
        parts.append(part)
    whole = replace(
        parts[-1],
        eta=np.concatenate([part.eta for part in parts], 1),
        energy=np.concatenate([part.energy for part in parts], 1),
        acceptance=np.mean([part.acceptance for part in parts], 0),
        schedule=schedule,
    )
    return StructureFactor(k, len(box.sites) * total / len(parts), whole)


def wave_vectors(
    box: Supercell, primitive_cell: Float[np.ndarray, "3 3"], longest: float
) -> Float[np.ndarray, "k 3"]:
    """The box's wave vectors with 0 < |k| ≤ `longest` (1/Å), one of each ±k, shortest first.

    Raises:
        ValueError: there is none, or they reach the zone boundary of the sublattices.
    """
    cells = np.array(box.edges)
    edges = cells[:, None] * (box.ordered_cell @ primitive_cell)
    reach = [int(longest * np.linalg.norm(edge) / (2 * np.pi)) for edge in edges]
    if (2 * np.array(reach) >= cells).any():
        raise ValueError(
            f"`longest` must stay inside the zone of the sublattices; {longest:g} 1/Å does not: "
            "make it smaller."
        )
    index = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    index = index[len(index) // 2 + 1 :]
    k = 2 * np.pi * index @ np.linalg.inv(edges).T
    length = np.linalg.norm(k, axis=1)
    chosen = np.argsort(length, kind="stable")[: int((length <= longest).sum())]
    if len(chosen) == 0:
        raise ValueError(
            f"`longest` must reach a wave vector of the box; {longest:g} 1/Å does not: take more "
            "cells or longer wave vectors."
        )
    return k[chosen]


def gradient_energy(
    factor: StructureFactor, combinations: Float[np.ndarray, "m d"] | None = None
) -> GradientEnergy:
    """K from k_BT S(k)⁻¹ = H + K^{αβ}k_αk_β + O(k⁴), fitted to all wave vectors at once.

    The inverse structure factor is the second variation of the coarse-grained free energy (Landau
    & Lifshitz, Statistical Physics, Part 1, §146). Least squares over the even polynomials of k up
    to fourth order, weighted by the Gaussian law Var(S⁻¹)_ij ∝ (S⁻¹)_ii (S⁻¹)_jj + (S⁻¹)_ij². All
    errors, and the bias of inverting a sampled matrix, by the jackknife over walkers: they hold
    the correlation in time, but not what a sixth order would add; see `misfit`.

    Args:
        factor: what was sampled.
        combinations: C of order parameters q = Cη to have H and K of, the other directions
            integrated out: S_q = C S Cᵀ. The η themselves if not given. In a phase with nearly
            perfect sublattices the soft directions alone have a well-determined K.

    Raises:
        ValueError: fewer wave vectors than the 22 coefficients of a fit, or as many.
    """
    k = factor.wave_vectors
    unit = np.linalg.norm(k, axis=1).max()
    basis = _polynomials(k / unit)
    if len(k) <= basis.shape[1]:
        raise ValueError(
            f"`factor` must hold more than {basis.shape[1]} wave vectors; it holds {len(k)}: "
            "sample longer ones or take a larger box."
        )
    inverse = _inverse_replicates(factor, combinations)
    pair = np.einsum("kii->ki", inverse[0])
    weight = 1 / np.sqrt(pair[:, :, None] * pair[:, None] + inverse[0] ** 2)
    weighted = weight.transpose(1, 2, 0)[..., None] * basis
    solve = np.linalg.pinv(weighted) * weight.transpose(1, 2, 0)[..., None, :]
    fitted = np.einsum("ijpk,rkij->rijp", solve, inverse)
    tensor = np.empty((*fitted.shape[:3], 3, 3))
    for column, (a, b) in enumerate(_PAIRS, start=1):
        tensor[..., a, b] = tensor[..., b, a] = fitted[..., column] / (1 + (a != b)) / unit**2
    residual = inverse[0] - np.einsum("kp,ijp->kij", basis, fitted[0])
    sigma = jackknife_stderr(inverse[None, 1:])[0]
    freedom = 1 - basis.shape[1] / len(k)
    return GradientEnergy(
        replicates=tensor,
        hessian=_jackknife(fitted[..., 0]),
        misfit=float(np.sqrt(np.mean((residual / sigma) ** 2) / freedom)),
    )


def _inverse_replicates(
    factor: StructureFactor, combinations: Float[np.ndarray, "m d"] | None
) -> Float[np.ndarray, "replicate k m m"]:
    """k_BT S⁻¹ of all walkers, then with each walker left out in turn (eV per site)."""
    by_walker, walkers = factor.by_walker, len(factor.by_walker)
    if combinations is not None:
        by_walker = combinations @ by_walker @ combinations.T
    left_out = (by_walker.sum(0) - by_walker) / (walkers - 1)
    mean = np.concatenate([by_walker.mean(0)[None], left_out])
    return BOLTZMANN_EV * factor.samples.temperature[0] * np.linalg.inv(mean)


def _polynomials(k: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "k term"]:
    """1, the six k_αk_β and the fifteen products of four."""
    powers = [k[:, list(axes)].prod(1) for axes in (*_PAIRS, *_QUARTETS)]
    return np.stack([np.ones(len(k)), *powers], 1)


def _phases(
    box: Supercell, primitive_cell: Float[np.ndarray, "3 3"], k: Float[np.ndarray, "k 3"]
) -> Complex[np.ndarray, "d site k"]:
    """exp(−ik·r)/N_s by sublattice."""
    phase = np.exp(-1j * (box.sites @ primitive_cell) @ k.T) / box.sites_per_sublattice
    return phase.reshape(box.system.dimension, -1, len(k))


def _products(
    box: Supercell,
    phase: Complex[np.ndarray, "d site k"],
    occupation: UInt8[np.ndarray, "walker all"],
) -> Float[np.ndarray, "walker k d d"]:
    """Re ηᵢ(k) ηⱼ(−k) of one state per walker."""
    by_sublattice = occupation.reshape(len(occupation), len(phase), -1).swapaxes(0, 1)
    # Contiguous in double precision: only then is the product left to BLAS.
    fractions = by_sublattice.astype(np.float64, order="C") @ phase.view(np.float64)
    eta = np.einsum("is,swk->wki", box.system.q.numpy(), fractions.view(np.complex128))
    return (eta[..., :, None] * eta[..., None, :].conj()).real


def _jackknife(replicates: Float[np.ndarray, "replicate *rest"]) -> Estimate:
    """From the estimate of all walkers and those with one left out, freed of its 1/walkers bias."""
    whole, left_out = replicates[0], replicates[1:]
    walkers = len(left_out)
    return Estimate(
        walkers * whole - (walkers - 1) * left_out.mean(0), jackknife_stderr(left_out[None])[0]
    )
