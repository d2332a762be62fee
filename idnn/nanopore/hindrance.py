"""Hindrance of ions in pores, as functions of λ, the ratio of the radii of ion and pore."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Hindrance(Protocol):
    """λ → (K_d, K_c), by which diffusion and convection in the pore differ from those outside."""

    def __call__(
        self, ratio: Float[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]: ...


def dechadilok_deen(
    ratio: Float[Tensor, "*batch"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Averages over the cross-section (Dechadilok & Deen 2006, doi:10.1021/ie051387n).

    K_d = [1 + (9/8)λ ln λ − 1.56034λ + 0.528155λ² + 1.91521λ³ − 2.81903λ⁴ + 0.270788λ⁵ + 1.10115λ⁶
    − 0.435933λ⁷]/(1 − λ)² up to λ = 0.95, 0.984((1 − λ)/λ)^{5/2} above.
    """
    low = ratio.clamp(max=0.95)
    powers = (1.0, -1.56034, 0.528155, 1.91521, -2.81903, 0.270788, 1.10115, -0.435933)
    below = (_polynomial(low, powers) + 1.125 * low * low.log()) / (1 - low) ** 2
    high = ratio.clamp(min=0.95)
    above = 0.984 * ((1 - high) / high) ** 2.5
    return torch.where(ratio <= 0.95, below, above), _dechadilok_deen_convection(ratio)


def geraldes_alves(
    ratio: Float[Tensor, "*batch"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """K_d = 1 − 2.30λ + 1.154λ² + 0.224λ³, on the axis of the pore, K_c of Dechadilok and Deen.

    Geraldes & Alves (2008, J. Membr. Sci. 321, 172), as WaterTAP quotes them.
    """
    return _axial_diffusion(ratio), _dechadilok_deen_convection(ratio)


def bowen_mohammad_hilal(
    ratio: Float[Tensor, "*batch"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """K_d as `geraldes_alves`, K_c = (2 − (1 − λ)²)(1 + 0.054λ − 0.988λ² + 0.441λ³).

    Bowen, Mohammad & Hilal (1997, doi:10.1016/S0376-7388(96)00276-1), on the axis of the pore.
    """
    return _axial_diffusion(ratio), (2 - (1 - ratio) ** 2) * _polynomial(
        ratio, (1.0, 0.054, -0.988, 0.441)
    )


def _axial_diffusion(ratio: Tensor) -> Tensor:
    return _polynomial(ratio, (1.0, -2.30, 1.154, 0.224))


def _dechadilok_deen_convection(ratio: Tensor) -> Tensor:
    """K_c = (1 + 3.867λ − 1.907λ² − 0.834λ³)/(1 + 1.867λ − 0.741λ²)."""
    above = _polynomial(ratio, (1.0, 3.867, -1.907, -0.834))
    return above / _polynomial(ratio, (1.0, 1.867, -0.741))


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    out = torch.full_like(x, coefficients[-1])
    for each in reversed(coefficients[:-1]):
        out = each + x * out
    return out
