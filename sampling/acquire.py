"""Where to sample next: candidates, what each is worth, and batches that do not repeat."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.data import Derivatives
from idnn.equilibrium import TieLine, TieLineEstimate
from idnn.free_energy import FreeEnergy, chemical_potential
from idnn.network import IntegrableNetwork
from idnn.order_parameters import FCC_L12, System, ordered_partly
from sampling.cvm import ClusterVariation, NoHomogeneousState
from sampling.expansion import ClusterExpansion
from sampling.mean_field import MeanField

MARGIN = 5e-5
"""Site fractions aimed at lie in [MARGIN, 1 − MARGIN]: nearer to 0 and 1 only f_ideal varies."""

LEAST_SEEN = 30
"""Atoms of either kind that the records of a point should show on every sublattice."""

SCATTER = (0.003, 0.03)
"""Standard deviation of arcsin √x around a line that is sampled on purpose, between these and each
point's own. In this measure an ideal solution fluctuates by the same amount at any site fractions;
the wells of a strongly ordered crystal are much narrower than the places where they might lie."""

REACH = 0.04
"""Distance in η within which one point of a batch makes the next one less worth."""


def spread_over(
    system: System, composition: tuple[float, float], count: int, seed: int
) -> Float[Tensor, "sample d"]:
    """Sobol points in the admissible polytope cut to the range of composition."""
    sublattices = system.dimension
    sobol = torch.quasirandom.SobolEngine(sublattices, scramble=True, seed=seed)
    low, high = composition
    # No fraction can exceed `sublattices` times the composition: a smaller cube to draw from.
    least = max(MARGIN, 1 - sublattices * (1 - low))
    most = min(1 - MARGIN, sublattices * high)
    kept = torch.empty(0, sublattices, dtype=torch.float64)
    while len(kept) < count:
        x = least + (most - least) * sobol.draw(4096).double()
        kept = torch.cat([kept, x[(x.mean(-1) >= low) & (x.mean(-1) <= high)]])
    return system.order_parameters(kept[:count])


def along_prototypes(
    system: System, composition: tuple[float, float], count: int, seed: int
) -> Float[Tensor, "sample d"]:
    """Points scattered about the lines from disorder to each ordered prototype.

    Wells lie on these lines, and uniform draws almost never land there. The lines keep to the
    range of composition; the scatter may leave it, so that the fit is not one-sided at its ends.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = composition
    _, *ordered = system.prototypes.values()
    ideal = torch.tensor(ordered, dtype=torch.float64)
    ideal = ideal[ideal.mean(-1) <= high + 0.25]
    rows = torch.arange(count) % len(ideal)
    level = low + (high - low) * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    order = torch.rand(count, 1, generator=generator, dtype=torch.float64).sqrt()
    return _scattered(system, ordered_partly(ideal[rows], level, order), generator)


def near_tie_line(
    system: System, tie_line: TieLine, count: int, seed: int
) -> Float[Tensor, "sample d"]:
    """Points scattered about both ends of a tie-line, and a third of them on the way between."""
    generator = torch.Generator().manual_seed(seed)
    ends = system.site_fractions(torch.stack([tie_line.left.eta, tie_line.right.eta]))
    share = torch.rand(count, 1, generator=generator, dtype=torch.float64)
    share = torch.where(torch.arange(count)[:, None] % 3 == 0, share, share.round())
    return _scattered(system, (1 - share) * ends[0] + share * ends[1], generator)


def expected_error(
    system: System, data: Derivatives, eta: Float[Tensor, "sample d"]
) -> Float[Tensor, "sample d"]:
    """σ of μ that sampling at η would leave (eV/site): that of the nearest point, in invariants."""
    distance = torch.cdist(system.invariants(eta), system.invariants(data.eta))
    nearest = data.sigma[distance.argmin(1)]
    return nearest.square().mean(-1, keepdim=True).sqrt().expand_as(eta)


def disagreement(
    network: IntegrableNetwork, eta: Float[Tensor, "sample d"], sigma: Float[Tensor, "sample d"]
) -> Float[Tensor, " sample"]:
    """What measuring μ with error σ would take off the committee's variance of it, (eV/site)².

    var²/(var + σ²), the mean over components: no more than that can be learned where boxes of
    different size disagree.
    """
    with torch.no_grad():
        variance = network.gradients(eta).var(0)
    return (variance.square() / (variance + sigma.square())).mean(-1)


def tie_line_gain(
    network: IntegrableNetwork,
    tie_line: TieLineEstimate,
    eta: Float[Tensor, "sample d"],
    sigma: Float[Tensor, "sample d"],
) -> Float[Tensor, " sample"]:
    """Expected share of the tie-line's variance that a measurement of μ at η would remove.

    With the committee as samples of the posterior, measuring μᵢ with error σ lowers the variance
    of an end T by cov(T, μᵢ)²/(var μᵢ + σ²) (the linear-Gaussian update); the shares of both ends
    and all components are added. Zero where the committee does not agree on a tie-line.
    """
    if tie_line.missing or len(tie_line.members) < 2:
        return torch.zeros(len(eta), dtype=eta.dtype)
    ends = tie_line.numbers()
    ends = ends - ends.mean(0)
    with torch.no_grad():
        mu = network.gradients(eta)
    mu = mu - mu.mean(0)
    degrees = len(ends) - 1
    covariance = torch.einsum("me,mnd->end", ends, mu) / degrees
    removed = covariance.square() / (mu.square().sum(0) / degrees + sigma.square())
    return (removed.sum(-1) / ends.var(0).clamp_min(1e-30)[:, None]).sum(0)


def choose(
    eta: Float[Tensor, "sample d"], worth: Float[Tensor, " sample"], count: int
) -> Int[Tensor, " chosen"]:
    """The `count` candidates of greatest worth, each lowering that of its neighbours.

    After a choice at η* every worth is multiplied by 1 − exp(−|η − η*|²/2r²), r = `REACH`.

    Raises:
        ValueError: there are fewer candidates than `count`.
    """
    if count > len(eta):
        raise ValueError(f"`count` must not exceed the {len(eta)} candidates; it is {count}.")
    taken = torch.zeros(len(eta), dtype=torch.bool)
    chosen = []
    for _ in range(count):
        best = int(worth.masked_fill(taken, -torch.inf).argmax())
        taken[best] = True
        chosen.append(best)
        distance = (eta - eta[best]).square().sum(-1)
        worth = worth * -torch.expm1(-distance / (2 * REACH**2))
    return torch.tensor(chosen, dtype=torch.int64)


def with_something_to_see(
    system: System, eta: Float[Tensor, "sample d"], looks: int
) -> Float[Tensor, "sample d"]:
    """Site fractions moved to where `looks` at a site find `LEAST_SEEN` atoms of either kind.

    Of a sublattice that never changes nothing can be learned, nor of the point.
    """
    margin = min(LEAST_SEEN / looks, 0.5)
    return system.order_parameters(system.site_fractions(eta).clamp(margin, 1 - margin))


def bias_centre(
    f: FreeEnergy, eta: Float[Tensor, "sample d"], stiffness: Float[Tensor, " d"]
) -> Float[Tensor, "sample d"]:
    """κ = η + μ(η)/2φ: the centre of the bias that brings ⟨η⟩ to η, as far as f is right."""
    with torch.no_grad():
        return eta + chemical_potential(f, eta) / (2 * stiffness)


def first_bias_centre(
    expansion: ClusterExpansion,
    system: System,
    temperature: float,
    eta: Float[Tensor, "sample d"],
    stiffness: Float[Tensor, " d"],
) -> Float[Tensor, "sample d"]:
    """κ before anything is sampled, from the expansion's energies.

    On the sublattices of fcc by the cluster variation method; elsewhere, and where that has no
    homogeneous state, by mean field.
    """
    kappa = bias_centre(MeanField(expansion, system, temperature), eta, stiffness)
    if system.name != FCC_L12.name:
        return kappa
    f = ClusterVariation(expansion, temperature)
    found = torch.ones(len(eta), dtype=torch.bool)
    try:
        f(eta)
    except NoHomogeneousState as error:
        found = ~error.missing
    kappa[found] = bias_centre(f, eta[found], stiffness)
    return kappa


def _scattered(
    system: System, x: Float[Tensor, "sample d"], generator: torch.Generator
) -> Float[Tensor, "sample d"]:
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    least, most = SCATTER
    share = torch.rand(len(x), 1, generator=generator, dtype=x.dtype)
    width = least * (most / least) ** share
    scattered = (x.sqrt().arcsin() + width * noise).sin().square()
    return system.order_parameters(scattered.clamp(MARGIN, 1 - MARGIN))
