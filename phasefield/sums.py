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

STEP = 1e-8
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


def curvature(f: FreeEnergy, u: Float[Tensor, "field cell"]) -> Float[Tensor, "field field cell"]:
    """∂²f/∂uᵢ∂uⱼ (eV/site): exact, or differences of the compiled slopes of networks and sums.

    Those over `STEP` are off by its half times f‴: 10⁻⁴ of kT/x where a site fraction x is 10⁻⁴.
    For implicit steps, which correct what a slope foretold; a fiftieth of the cost of the
    derivatives of a network, a third of that of the sum of a CALPHAD energy and a barrier.
    """
    kernel = f.kernel if isinstance(f, Compiled) and u.is_cpu else None
    if isinstance(f, Sum) and kernel is None:
        return _added([curvature(part, u) for part in f.parts])
    if isinstance(f, Pointwise) or (u.is_cpu and kernel is None):
        return hessian(f, u.T).movedim(0, -1)

    def slopes(at: Tensor) -> Tensor:
        if kernel is None:
            return value_and_potential(f, at.T)[1].T
        kernel(at.numpy(), np.zeros(len(at)), 0, at.shape[1])
        return at

    here = slopes(u.double().clone())
    found = here.new_empty(len(u), *u.shape)
    for i, row in enumerate(found):
        ahead = u.double().clone()
        ahead[i] += STEP
        torch.sub(slopes(ahead), here, out=row)
    return (found + found.transpose(0, 1)).div_(2 * STEP).to(u.dtype)


def _added(terms: Sequence[Tensor]) -> Tensor:
    first, *others = terms
    for term in others:
        first = first + term
    return first
