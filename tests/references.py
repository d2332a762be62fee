"""Free energies known exactly, for the tests to learn, to search and to compare with."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.data import Derivatives
from idnn.free_energy import chemical_potential
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV, EV_PER_SITE_IN_J_PER_MOL

MOLAR_GAS_CONSTANT = BOLTZMANN_EV * EV_PER_SITE_IN_J_PER_MOL
"""R in J/(mol K)."""


@dataclass(frozen=True)
class DupinNickelAluminium:
    """Fcc Ni-Al of Dupin, Ansara & Sundman (2001, doi:10.1016/S0364-5916(01)00049-9), eV/site.

    G(y) = G_A1(x) + G_ord(y) - G_ord(x, x, x, x), y the Al fractions on the four sublattices and x
    their mean; the pure fcc elements at the same temperature, not magnetic, are at zero. With the
    paper's symmetry the sixteen end members of G_ord say that an unlike pair of sublattices costs
    U1. Parameters as in the database `alni_dupin_2001.tdb` that pycalphad ships.
    """

    temperature: float
    gas_constant: float = MOLAR_GAS_CONSTANT

    def __call__(self, eta: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        return self.joule_per_mole(FCC_L12.site_fractions(eta)) / EV_PER_SITE_IN_J_PER_MOL

    def joule_per_mole(self, y: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
        """G(y) in J per mole of atoms."""
        x = y.mean(-1)
        disordered = x[..., None].expand(y.shape)
        return self._solution(x) + self._ordering(y) - self._ordering(disordered)

    def _solution(self, x: Tensor) -> Tensor:
        t = self.temperature
        excess = (
            (-162407.75 + 16.212965 * t)
            + (73417.798 - 34.914168 * t) * (2 * x - 1)
            + (33471.014 - 9.8373558 * t) * (2 * x - 1) ** 2
            + (-30758.01 + 10.25267 * t) * (2 * x - 1) ** 3
        )
        return self._mixing(x) + x * (1 - x) * excess + self._magnetism(x)

    def _ordering(self, y: Tensor) -> Tensor:
        pair = 2 / 3 * (-22212.8931 + 4.39570389 * self.temperature)
        reciprocal = 7203.60609 - 3.7427303 * self.temperature
        total = y.sum(-1)
        unlike_pairs = 3 * total - total**2 + y.square().sum(-1)
        within = (y * (1 - y) * (2 * y - 1)).sum(-1)
        return pair * unlike_pairs + reciprocal * within + self._mixing(y).mean(-1)

    def _mixing(self, x: Tensor) -> Tensor:
        return (
            self.gas_constant * self.temperature * (torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x))
        )

    def _magnetism(self, x: Tensor) -> Tensor:
        """Inden (1981) as Hillert & Jarl (1978, doi:10.1016/0364-5916(78)90011-1) write it."""
        p = 0.28
        curie = 633 * (1 - x) + x * (1 - x) * (-1112 + 1745 * (2 * x - 1))
        curie = torch.where(curie > 0, curie, -curie / 3)
        above = (curie / self.temperature).clamp_max(1)
        below = (curie / self.temperature).clamp_min(1)
        scale = 518 / 1125 + 11692 / 15975 * (1 / p - 1)
        high = -(above**5 / 10 + above**15 / 315 + above**25 / 1500) / scale
        series = below**-3 / 6 + below**-9 / 135 + below**-15 / 600
        low = 1 - (79 * below / (140 * p) + 474 / 497 * (1 / p - 1) * series) / scale
        g = torch.where(curie > self.temperature, low, high)
        return self.gas_constant * self.temperature * torch.log1p(0.52 * (1 - x)) * g


def sobol_states(count: int, *, seed: int, margin: float = 1e-3) -> Float[Tensor, "sample 4"]:
    """η of sublattice fractions spread evenly over [margin, 1 - margin]⁴."""
    draw = torch.quasirandom.SobolEngine(4, scramble=True, seed=seed).draw(count).double()
    return FCC_L12.order_parameters(margin + (1 - 2 * margin) * draw)


def measured(f, count: int, *, seed: int, sigma: float, noise: float) -> Derivatives:
    """∂f/∂η at Sobol states with Gaussian noise (eV/site), quoted with standard error sigma."""
    eta = sobol_states(count, seed=seed)
    with torch.no_grad():
        mu = chemical_potential(f, eta)
    generator = torch.Generator().manual_seed(seed)
    error = noise * torch.randn(mu.shape, generator=generator, dtype=mu.dtype)
    return Derivatives(eta, mu + error, torch.full_like(mu, sigma))
