"""Stiffness and strain as matrices and vectors of six, so that products are those of tensors."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_finite, require_shape

COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""In the order of Voigt."""

PLANE_STRAIN: Mapping[str, float] = {"zz": 0.0, "yz": 0.0, "xz": 0.0}
"""Mean strains of a two-dimensional model of a body that cannot strain along z."""

GIGAPASCAL = 6.241509074460763
"""1 GPa in eV/nm³."""

LARGEST_MISFIT = 0.05
"""Strains up to which linear elasticity of the undeformed box is accepted."""

_ROOTS = torch.tensor([1, 1, 1, *[math.sqrt(2)] * 3], dtype=torch.float64)
_PLACES = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


def cubic(c11: float, c12: float, c44: float) -> Float[Tensor, "6 6"]:
    """Voigt's matrix C of a cubic crystal with its axes along the box.

    Raises:
        ValueError: unless C₁₁ > |C₁₂|, C₁₁ + 2C₁₂ > 0 and C₄₄ > 0.
    """
    c = torch.diag(torch.tensor([c11 - c12] * 3 + [c44] * 3, dtype=torch.float64))
    c[:3, :3] += c12
    require_stable("stiffness", c)
    return c


def isotropic(youngs_modulus: float, poisson_ratio: float) -> Float[Tensor, "6 6"]:
    """Voigt's matrix of an isotropic body, λ = Eν/(1+ν)(1−2ν), μ = E/2(1+ν)."""
    mu = youngs_modulus / (2 * (1 + poisson_ratio))
    lame = 2 * mu * poisson_ratio / (1 - 2 * poisson_ratio)
    return cubic(lame + 2 * mu, lame, mu)


def rotated(
    stiffness: Float[Tensor, "6 6"], rotation: Float[Tensor, "3 3"]
) -> Float[Tensor, "6 6"]:
    """C of the crystal turned by R: C′ᵢⱼₖₗ = Rᵢₐ Rⱼᵦ Rₖᵧ Rₗᵟ Cₐᵦᵧᵟ.

    Raises:
        ValueError: R is no rotation.
    """
    r = rotation.double()
    if not torch.allclose(r @ r.T, torch.eye(3, dtype=r.dtype), atol=1e-12):
        raise ValueError(f"`rotation` must be orthogonal; it is {rotation.tolist()}.")
    unit = torch.eye(6, dtype=torch.float64)
    turn = torch.stack([vector(r @ matrix(e) @ r.T) for e in unit], 1)
    turned = turn @ by_mandel(stiffness) @ turn.T
    return (turned + turned.T) / (2 * torch.outer(_ROOTS, _ROOTS))


def by_mandel(stiffness: Float[Tensor, "6 6"]) -> Float[Tensor, "6 6"]:
    """C such that σ = Cε for vectors with √2 in front of shears, of Voigt's matrix."""
    return stiffness.double() * torch.outer(_ROOTS, _ROOTS)


def vector(tensor: Float[Tensor, "3 3"]) -> Float[Tensor, " 6"]:
    """(ε₁₁, ε₂₂, ε₃₃, √2ε₂₃, √2ε₁₃, √2ε₁₂): ε·ε is the product of the tensors."""
    return tensor.double()[_PLACES] * _ROOTS


def matrix(six: Float[Tensor, " 6"]) -> Float[Tensor, "3 3"]:
    """The tensor of such a vector."""
    out = torch.zeros(3, 3, dtype=torch.float64)
    rows, columns = _PLACES
    out[rows, columns] = out[columns, rows] = six.double() / _ROOTS
    return out


def by_component(six: Float[Tensor, "6 *space"]) -> Float[Tensor, "6 *space"]:
    """Tensor components (xx, yy, zz, yz, xz, xy) of such vectors on cells."""
    return six / _ROOTS.to(six).reshape(-1, *[1] * (six.ndim - 1))


def components(values: Mapping[str, float]) -> Float[Tensor, " 6"]:
    """Tensor components by name, as a vector; those not given are zero."""
    return torch.tensor([values.get(name, 0.0) for name in COMPONENTS], dtype=_ROOTS.dtype) * _ROOTS


def require_stable(name: str, stiffness: Float[Tensor, "6 6"]) -> None:
    """Raise `ValueError` unless C is finite, symmetric and positive definite."""
    require_shape(name, stiffness, (6, 6))
    require_finite(name, stiffness)
    lowest = float(torch.linalg.eigvalsh(by_mandel(stiffness))[0])
    if not torch.equal(stiffness, stiffness.mT) or not lowest > 0:
        raise ValueError(
            f"`{name}` must be symmetric and positive definite, or the body is unstable: a cubic "
            f"crystal needs C₁₁ > |C₁₂|, C₁₁ + 2C₁₂ > 0, C₄₄ > 0. Its lowest eigenvalue is "
            f"{lowest:.4g}; it is {stiffness.tolist()}."
        )


def require_small(name: str, strain: Float[Tensor, "3 3"]) -> None:
    """Raise `ValueError` unless a strain is symmetric and small."""
    require_shape(name, strain, (3, 3))
    require_finite(name, strain)
    most = float(strain.abs().max())
    if not torch.equal(strain, strain.mT) or most > LARGEST_MISFIT:
        raise ValueError(
            f"`{name}` must be a symmetric strain of at most {LARGEST_MISFIT:g}, where linear "
            f"elasticity holds; its largest entry is {most:g}: a misfit of 0.4 % is 0.004."
        )


def check_mean(strain: Mapping[str, float], stress: Mapping[str, float]) -> None:
    """Raise `ValueError` unless each component is known and given once at most."""
    for name, values in (("mean_strain", strain), ("mean_stress", stress)):
        unknown = sorted(set(values) - set(COMPONENTS))
        if unknown:
            raise ValueError(f"`{name}` may have {', '.join(COMPONENTS)}; it has {unknown}.")
        require_finite(name, torch.tensor(list(values.values())))
    both = sorted(set(strain) & set(stress))
    if both:
        raise ValueError(f"`mean_strain` and `mean_stress` must not both be given for {both}.")
