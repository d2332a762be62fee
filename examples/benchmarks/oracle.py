"""The assessed Ni–Al as an oracle: ∂f/∂η and energies at chosen states, with noise of known σ."""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.data import Derivatives, Energies
from idnn.free_energy import chemical_potential
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.calphad import OrderedFcc, default_database
from phasefield.ordered_fcc import OrderedFccEnergy

JOULE_PER_MOL = 1 / EV_PER_SITE_IN_J_PER_MOL
"""In eV/site."""

EXACT = 20.0
"""σ in J/mol that is stated for data without noise: what a fit may leave of them."""


@cache
def free_energy(kelvin: float) -> OrderedFccEnergy:
    """Fcc Ni–Al with its orderings (Dupin et al. 2001, doi:10.1016/S0364-5916(01)00049-9)."""
    return OrderedFcc.from_database(default_database(), ("NI", "AL")).at(kelvin)


def gradient(kelvin: float, eta: Float[Tensor, "sample 4"]) -> Float[Tensor, "sample 4"]:
    """∂f/∂η without noise, eV/site."""
    with torch.no_grad():
        return chemical_potential(free_energy(kelvin), eta)


def derivatives(
    kelvin: float, eta: Float[Tensor, "sample 4"], noise: float, seed: int
) -> Derivatives:
    """∂f/∂η with Gaussian noise of so many J/mol in every component."""
    mu = gradient(kelvin, eta)
    mu = mu + noise * JOULE_PER_MOL * _normal(seed, *mu.shape)
    sigma = torch.full_like(mu, max(noise, EXACT) * JOULE_PER_MOL)
    return Derivatives(eta, mu, sigma, temperature=torch.full_like(mu[:, 0], kelvin))


def energies(kelvin: float, eta: Float[Tensor, "sample 4"], noise: float, seed: int) -> Energies:
    """∂(βf)/∂β less that at η = 0 with Gaussian noise of so many J/mol."""
    f = free_energy(kelvin)
    value = f.energy(eta) - f.energy(torch.zeros_like(eta[0]))
    value = value + noise * JOULE_PER_MOL * _normal(seed, len(eta))
    sigma = torch.full_like(value, max(noise, EXACT) * JOULE_PER_MOL)
    return Energies(eta, value, sigma, torch.full_like(value, kelvin))


def _normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)
