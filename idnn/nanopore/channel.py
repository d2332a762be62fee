"""Mass transfer between the bulk of the feed and the membrane."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import Water


def spiral_wound(
    ions: Ions,
    water: Water,
    *,
    velocity: Float[Tensor, "*#batch"],
    height: float = 0.5e-3,
    efficiency: float = 0.5,
    mixing_length: float = 0.6,
) -> Float[Tensor, "*batch ion"]:
    """k = 0.753 √(η/(2 − η)) (2D/h) Sc^(−1/6) √(Pe h/2L) in m/s, Pe = 2hv/D, Sc = μ/ρD.

    Of a channel of height h (m) in a spiral-wound element, along which the feed moves at v (m/s),
    with a spacer of mixing efficiency η that mixes over a length L (m). Geraldes & Alves (2008,
    J. Membr. Sci. 321, 172), with the values of WaterTAP.

    Raises:
        ValueError: one of them is not positive.
    """
    given = {"velocity": velocity.detach(), "height": height, "mixing_length": mixing_length}
    for name, value in (given | {"efficiency": efficiency}).items():
        require_positive(name, value)
    d = ions.diffusivity
    peclet = 2 * height * velocity[..., None] / d
    schmidt = water.viscosity / (water.density * d)
    mixing = (efficiency / (2 - efficiency)) ** 0.5
    along = (peclet * height / (2 * mixing_length)) ** 0.5
    return 0.753 * mixing * (2 * d / height) * schmidt ** (-1 / 6) * along


def with_suction(
    transfer: Float[Tensor, "*#batch ion"], flux: Float[Tensor, "*#batch"]
) -> tuple[Float[Tensor, "*batch ion"], Float[Tensor, "*batch ion"]]:
    """k(φ + (1 + 0.26 φ^1.4)^−1.7), φ = J_v/k, and its derivative by J_v.

    A coefficient as it is with flow through the wall, always above J_v. Geraldes & Afonso (2006,
    AIChE J. 52, 3353).
    """
    ratio = flux[..., None] / transfer
    base = 1 + 0.26 * ratio**1.4
    by_ratio = 1 - 1.7 * base**-2.7 * 0.26 * 1.4 * ratio**0.4
    return transfer * (ratio + base**-1.7), by_ratio
