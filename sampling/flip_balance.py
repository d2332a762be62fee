"""A second opinion on μ, from what single flips would cost in sampled states."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy.special import expit

from idnn.units import BOLTZMANN_EV
from sampling.estimate import Estimate
from sampling.hamiltonian import ClusterHamiltonian, Umbrella

_LEAST_OVERLAP = 50
_HALVINGS = 50
_REACH = 40.0


@dataclass(frozen=True, eq=False)
class FlipBalance:
    """What flips say of μ, beside what the umbrella says (eV per site).

    Attributes:
        mu: μ of the box at ⟨η⟩ of the states; the error is its distance from the curve μ(⟨η⟩).
        disagreement: that less −2φ(⟨η⟩ − κ) + h of the same states. Zero within its error where the
            states are in equilibrium under this bias, temperature and Hamiltonian.
    """

    mu: Estimate
    disagreement: Estimate


def flip_balance(
    hamiltonian: ClusterHamiltonian,
    occupation: UInt8[np.ndarray, "batch sample walker site"],
    umbrella: Umbrella,
    *,
    temperature: Float[np.ndarray, " batch"],
) -> FlipBalance:
    """Bennett's estimator of μ between a sublattice's states of n and n + 1 filled sites.

    If uᵢ is what filling site i costs, or has cost, in energy and bias together, a heat bath would
    find it filled with probability 1/(1 + exp(uᵢ/k_BT)). In equilibrium these add up to the number
    that is filled, on average and on every sublattice. The c_s with

        Σᵢ 1/(1 + exp[(uᵢ − c_s)/k_BT]) = Σᵢ nᵢ    (sites i of sublattice s in all states)

    then is zero but for noise (Bennett 1976, doi:10.1016/0021-9991(76)90078-4, with equal numbers
    from both sides), and μ follows as the umbrella's own plus Q⁻ᵀc/d. The bias enters as it stands
    in each state, so that a stiff one, which swings by more than k_BT as η fluctuates, adds no
    error. NaN where flips of some sublattice all cost many k_BT: fewer than 50 sites in effect,
    Σᵢ p(1 − p), could go either way, and c_s rests on them alone. Errors from the spread of
    walkers, which must be independent.

    Args:
        hamiltonian: energies on the box.
        occupation: states of each point.
        umbrella: their bias, [point, d].
        temperature: K, of each point.
    """
    box, q = hamiltonian.supercell, umbrella.system.q.numpy()
    dimension, inverse = len(q), np.linalg.inv(q)
    eta = box.filled(occupation) / box.sites_per_sublattice @ q.T
    thermal = BOLTZMANN_EV * temperature[:, None, None, None, None]
    filled = _by_sublattice(occupation, dimension)
    cost = _by_sublattice(_filling_energy(hamiltonian, occupation), dimension)
    cost = (cost + _filling_bias(umbrella, eta, filled, len(box.sites))) / thermal
    shift = _balance(cost, filled)
    probability = expit(shift[:, None, None, :, None] - cost)
    overlap = (probability * (1 - probability)).sum((1, 2, 4))
    shift[overlap < _LEAST_OVERLAP] = np.nan
    to_mu = thermal[:, 0, 0, :, 0] / dimension
    # How far each walker alone moves c_s, to first order.
    score = (filled - probability).sum((1, 4)) / np.maximum(overlap, _LEAST_OVERLAP)[:, None]
    pull = (to_mu[:, None] * score) @ inverse
    disagreement = to_mu * shift @ inverse
    mean = eta.mean((1, 2))
    return FlipBalance(
        mu=Estimate(
            umbrella.chemical_potential(mean) + disagreement,
            _stderr(_off_curve(pull, eta.mean(1) - mean[:, None]), disagreement),
        ),
        disagreement=Estimate(disagreement, _stderr(pull, disagreement)),
    )


def _filling_energy(
    hamiltonian: ClusterHamiltonian, occupation: UInt8[np.ndarray, "*batch site"]
) -> Float[np.ndarray, "*batch site"]:
    """Energy (eV) of filling each site, the others as they are."""
    spin = np.ascontiguousarray(1 - 2 * occupation.reshape(-1, occupation.shape[-1]).T.astype("i1"))
    field = np.zeros(spin.shape, np.int64)
    home = np.split(field, hamiltonian.supercell.system.dimension)
    for orbit in hamiltonian.orbits:
        for mine, others in zip(home, orbit.others, strict=True):
            clusters = np.zeros(mine.shape, np.int64)
            for row in range(others.shape[1]):
                product = np.ones(mine.shape, spin.dtype)
                for other in range(orbit.order - 1):
                    product *= spin[others[:, row, other]]
                clusters += product
            mine += orbit.quanta * clusters
    return (-2 * hamiltonian.quantum * field.T).reshape(occupation.shape)


def _filling_bias(
    umbrella: Umbrella,
    eta: Float[np.ndarray, "batch sample walker d"],
    filled: UInt8[np.ndarray, "batch sample walker sublattice site"],
    sites: int,
) -> Float[np.ndarray, "batch sample walker sublattice site"]:
    """Bias (eV of the whole box) of filling each site: of one more, or of one not less."""
    q = umbrella.system.q.numpy()
    step = q.T * len(q) / sites

    def bias(number: int) -> np.ndarray:
        moved = np.moveaxis(eta[..., None, :] + number * step, 0, -2)
        return np.moveaxis(sites * umbrella.energy(moved), -1, 0)[..., None]

    return np.where(filled == 0, bias(1) - bias(0), bias(0) - bias(-1))


def _by_sublattice(values: np.ndarray, dimension: int) -> np.ndarray:
    return values.reshape(*values.shape[:-1], dimension, -1)


def _balance(
    cost: Float[np.ndarray, "batch sample walker sublattice site"],
    filled: UInt8[np.ndarray, "batch sample walker sublattice site"],
) -> Float[np.ndarray, "batch sublattice"]:
    """The c_s/k_BT that balance, by bisection."""
    low, high = cost.min((1, 2, 4)) - _REACH, cost.max((1, 2, 4)) + _REACH
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        expected = expit(middle[:, None, None, :, None] - cost).sum((1, 2, 4))
        below = expected < filled.sum((1, 2, 4))
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _off_curve(
    pull: Float[np.ndarray, "batch walker d"], off_mean: Float[np.ndarray, "batch walker d"]
) -> Float[np.ndarray, "batch walker d"]:
    """What of each walker's pull on μ does not follow its own ⟨η⟩ along the curve.

    Walkers that hold more than the mean pull μ up by (2Φ + H)δ, and −2Φδ of it is the umbrella's:
    Cov(c, η) is exactly k_BT/N, so that a regression finds that slope.
    """
    walkers, dimension = off_mean.shape[1:]
    slope = np.linalg.pinv(off_mean) @ pull
    freedom = max(walkers - dimension - 1, 1)
    return (pull - off_mean @ slope) * np.sqrt((walkers - 1) / freedom)


def _stderr(
    pull: Float[np.ndarray, "batch walker d"], value: Float[np.ndarray, "batch d"]
) -> Float[np.ndarray, "batch d"]:
    """Of a sum of independent pulls."""
    walkers = pull.shape[1]
    error = np.sqrt((pull**2).sum(1) * walkers / (walkers - 1))
    return np.where(np.isnan(value), np.nan, error)
