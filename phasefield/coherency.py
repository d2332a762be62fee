"""The misfit of γ′ in γ: elasticity of a γ/γ′ model from its table of constants."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression
from phasefield.gamma_prime import NAMES, GammaPrime
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.ni_al import Constants
from phasefield.stiffness import GIGAPASCAL, PLANE_STRAIN, cubic

PASCAL = GIGAPASCAL * 1e-9
"""1 Pa in eV/nm³."""


def coherent(
    alloy: GammaPrime,
    constants: Constants,
    *,
    one_stiffness: bool = False,
    mean_strain: Mapping[str, float] | None = None,
    mean_stress: Mapping[str, float] | None = None,
) -> GammaPrime:
    """The same alloy with coherent phases, crystal axes along those of the box.

    Lattice parameter and moduli follow the composition between the two phases of the tie-line
    (Vegard's law): θ = (c − cγ)/(cγ′ − cγ), ε⁰ = δθ, C = Cγ + θ(Cγ′ − Cγ). Strain shifts both
    phases, as coherency does.

    Coherent layers along ⟨100⟩ cost Bθ², B = δ²(C₁₁ + C₁₂ − 2C₁₂²/C₁₁) (Khachaturyan 1983, Theory
    of Structural Transformations in Solids, ch. 8), so that states amid an interface lie Bθ(1 − θ)
    lower than between phases apart. Barrier and gradient coefficient are fitted anew, that a flat
    ⟨100⟩ interface keeps its energy and width. Along ⟨110⟩ and ⟨111⟩ B is about twice as large and
    the interface energy lower: the more, the wider the interface.

    Args:
        alloy: without elasticity.
        constants: misfit δ and moduli.
        one_stiffness: the mean moduli of the two phases everywhere.
        mean_strain: components of the mean strain that are held; not given: those of plane strain
            in two dimensions, none in three.
        mean_stress: Pa, of the others; 0 where not given.

    Raises:
        ValueError: the grid is not periodic, moduli are not stable, a temperature is outside those
            of the constants, or the interface so wide that coherency takes all of its barrier.
    """
    grid, temperature = alloy.model.grid, alloy.temperature
    low, high = alloy.compositions
    share = Expression(f"(c - {low!r}) / {high - low!r}", NAMES)
    misfits = (Misfit(share, constants.misfit.at(temperature) * torch.eye(3, dtype=torch.float64)),)
    gamma, prime = (
        PASCAL * cubic(*[modulus.at(temperature) for modulus in moduli])
        for moduli in (constants.moduli, constants.moduli_ordered)
    )
    mean = (gamma + prime) / 2
    alloy = alloy.relieved(
        _layers(mean, float(misfits[0].strain[0, 0])) * alloy.model.site_volume / (high - low) ** 2
    )
    if mean_strain is None:
        mean_strain = PLANE_STRAIN if len(grid.shape) == 2 else {}
    stress = {name: PASCAL * value for name, value in (mean_stress or {}).items()}
    if one_stiffness:
        elastic = HomogeneousElasticity(grid, mean, misfits, mean_strain, stress)
    else:
        contrasts = (Contrast(share, prime - gamma),)
        elastic = InhomogeneousElasticity(grid, gamma, misfits, contrasts, mean_strain, stress)
    return replace(alloy, model=replace(alloy.model, elastic=elastic))


def _layers(stiffness: Float[Tensor, "6 6"], misfit: float) -> float:
    """B of a cubic crystal along ⟨100⟩."""
    c11, c12 = stiffness[0, :2].tolist()
    return misfit**2 * (c11 + c12 - 2 * c12**2 / c11)
