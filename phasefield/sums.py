"""Sums of free energies, and second derivatives for implicit steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from idnn.free_energy import FreeEnergy, chemical_potential, hessian, value_and_potential
from phasefield.terms import Compiled, Pointwise

STEP = 1e-6
"""Of order parameters between two slopes whose difference is taken."""


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of free energies of the same fields, eV/site, with the derivatives of its parts."""

    parts: tuple[FreeEnergy, ...]

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return _added([part(eta) for part in self.parts])

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return _added([chemical_potential(part, eta) for part in self.parts])

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        return _added([hessian(part, eta) for part in self.parts])

    def evaluate(
        self, eta: Float[Tensor, "sample d"]
    ) -> tuple[Float[Tensor, " sample"], Float[Tensor, "sample d"]]:
        values, slopes = zip(*[value_and_potential(part, eta) for part in self.parts], strict=True)
        return _added(values), _added(slopes)

    @cached_property
    def kernel(self) -> Callable[..., tuple[float, float]] | None:
        """Compiled pass as of `SymbolicEnergy.kernel`; None unless every part has one.

        Σ|f| is that of the parts, which is no less.
        """
        kernels = [part.kernel if isinstance(part, Compiled) else None for part in self.parts]
        first, *others = kernels
        if first is None or any(kernel is None for kernel in others):
            return None

        def pass_over(u: np.ndarray, s: np.ndarray, start: int, stop: int) -> tuple[float, float]:
            copies = [u[:, start:stop].copy() for _ in others]
            sums = [first(u, s, start, stop)]
            for kernel, copy in zip(others, copies, strict=True):
                assert kernel is not None
                sums.append(kernel(copy, np.zeros_like(s), 0, stop - start))
                u[:, start:stop] += copy
            values, sizes = zip(*sums, strict=True)
            return sum(values), sum(sizes)

        return pass_over


def curvature(f: FreeEnergy, u: Float[Tensor, "field cell"]) -> Float[Tensor, "cell field field"]:
    """∂²f/∂uᵢ∂uⱼ (eV/site): exact, or central differences of a network's compiled slopes.

    Those of `STEP` are off by its square times f⁗/6: 10⁻⁵ of kT/x where a site fraction x is 10⁻⁴.
    For implicit steps, which correct what a slope foretold; a hundredth of the cost of the
    derivatives of a network.
    """
    if isinstance(f, Sum):
        return _added([curvature(part, u) for part in f.parts])
    kernel = f.kernel if isinstance(f, Compiled) and u.is_cpu else None
    if isinstance(f, Pointwise) or (u.is_cpu and kernel is None):
        return hessian(f, u.T)

    def slopes(at: Tensor) -> Tensor:
        if kernel is None:
            return value_and_potential(f, at.T)[1].T
        kernel(at.numpy(), np.zeros(len(at)), 0, at.shape[1])
        return at

    rows = []
    for i in range(len(u)):
        above, below = u.double().clone(), u.double().clone()
        above[i] += STEP
        below[i] -= STEP
        rows.append((slopes(above) - slopes(below)) / (2 * STEP))
    found = torch.stack(rows).movedim(-1, 0)
    return ((found + found.mT) / 2).to(u.dtype)


def _added(terms: Sequence[Tensor]) -> Tensor:
    first, *others = terms
    for term in others:
        first = first + term
    return first
