"""A periodic grid in one, two or three dimensions, and its real Fourier transform."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from idnn.checks import require_positive


@dataclass(frozen=True)
class Grid:
    """Cubic cells on a torus; space is always the last axes of a tensor.

    Attributes:
        shape: number of cells along x[, y[, z]].
        spacing: edge of a cell, nm (or any length, if κ and M are given in the same).
        device: where fields on this grid live.
    """

    shape: tuple[int, ...]
    spacing: float
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 3 or any(n < 4 for n in self.shape):
            raise ValueError(
                f"`shape` must hold one to three lengths of at least 4 cells; it is {self.shape}."
            )
        require_positive("spacing", self.spacing)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def cell_volume(self) -> float:
        """hᵈ, in nmᵈ: per nm of thickness in two dimensions, per nm² of area in one."""
        return self.spacing ** len(self.shape)

    @cached_property
    def wave_numbers(self) -> tuple[Float[Tensor, "..."], ...]:
        """Components of k (1/nm), each shaped to broadcast over a transformed field."""
        last = len(self.shape) - 1
        components = []
        for axis, n in enumerate(self.shape):
            frequencies = torch.fft.rfftfreq if axis == last else torch.fft.fftfreq
            k = 2 * math.pi * frequencies(n, self.spacing, dtype=torch.float64, device=self.device)
            components.append(k.reshape([-1 if a == axis else 1 for a in range(last + 1)]))
        return tuple(components)

    @cached_property
    def k2(self) -> Float[Tensor, "*k"]:
        """|k|² (1/nm²) of every stored mode."""
        return torch.stack(torch.broadcast_tensors(*[k.square() for k in self.wave_numbers])).sum(0)

    @cached_property
    def multiplicity(self) -> Float[Tensor, " k"]:
        """How many modes of the full transform each stored one stands for, along the last axis."""
        n = self.shape[-1]
        weight = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64, device=self.device)
        weight[0] = 1.0
        if n % 2 == 0:
            weight[-1] = 1.0
        return weight

    def transform(self, u: Float[Tensor, "*batch_space"]) -> Complex[Tensor, "*batch_k"]:
        """Û = FFT(u) over the space axes, unnormalised."""
        return torch.fft.rfftn(u, s=self.shape, dim=self._axes)

    def inverse(self, u_hat: Complex[Tensor, "*batch_k"]) -> Float[Tensor, "*batch_space"]:
        """U = FFT⁻¹(û) over the space axes."""
        return torch.fft.irfftn(u_hat, s=self.shape, dim=self._axes)

    def cell_centres(self) -> tuple[Float[Tensor, "*space"], ...]:
        """Coordinates (nm) of the cell centres, one tensor per dimension."""
        axes = [
            (torch.arange(n, dtype=torch.float64, device=self.device) + 0.5) * self.spacing
            for n in self.shape
        ]
        return tuple(torch.meshgrid(*axes, indexing="ij"))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.shape), 0))
