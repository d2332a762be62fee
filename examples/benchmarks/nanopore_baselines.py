"""What learned closures are compared with: averages, perceptrons and physics-informed networks."""

import torch
from torch import Tensor, nn
from torch.func import jvp

from idnn.nanopore import Ions, Measurements, Membrane, Water
from idnn.nanopore.fitting import membrane_of
from idnn.nanopore.hindrance import dechadilok_deen
from idnn.nanopore.membrane import born_partition, size_ratio, steric_partition
from idnn.ode.learned import Perceptron
from idnn.train import LBFGS, fit

D = torch.float64
SOFT = 0.05
"""Standard deviation of soft residuals, which are logarithms or parts of a term."""

ACROSS = 7
"""Places in the pore where residuals are asked for."""

NEWTON = 6
"""Steps to neutrality; the logarithm of a ratio of charges is nearly linear in the potential."""


def averages(seen: Measurements, held: Measurements) -> Tensor:
    """Of what is known of the membrane."""
    return torch.stack([seen.rejection[seen.membrane == m].mean(0) for m in held.membrane])


def inputs(data: Measurements, membranes: int) -> Tensor:
    """Which membrane, and logarithms of all feeds but the last ion's and of the flux."""
    assert data.flux is not None
    number = nn.functional.one_hot(data.membrane, membranes).to(D)
    known = torch.cat([data.feed[:, :-1], data.flux[:, None] * 1e6], 1)
    return torch.cat([number, known.log() - 2], 1)


def perceptron(seen: Measurements, held: Measurements, seed: int, *, soft: bool) -> Tensor:
    """Rejections by a network of membrane, feed and flux, without any physics.

    If `soft`, it predicts the last ion too and the charge of the permeate is penalised; or that ion
    is what makes the permeate neutral, and need not be predicted.
    """
    of_all = 1 - seen.permeate() / seen.feed
    columns = of_all.shape[1] - (not soft)
    count = len(seen.measured)
    x = inputs(seen, seen.membranes)
    model = Perceptron((x.shape[1], 8, columns), seed=seed)
    middle, size = of_all.mean(0), of_all.std(0)
    target = ((of_all - middle) / size)[:, :columns]
    share = seen.feed / seen.feed[:, -1:]

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        out = model(x)
        value = (out - target)[:, :count].square().mean()
        if soft:
            passed = share * (1 - middle - size * out)
            value = value + (passed @ seen.ions.charge).square().mean()
        return value

    fit(model, loss, x, LBFGS(iterations=200), weight_decay=1e-3)
    with torch.no_grad():
        out = model(inputs(held, seen.membranes))[:, :count]
        return (middle[:count] + size[:count] * out).clamp(max=1)


def neutral(log_c: Tensor, charge: Tensor, fixed: Tensor) -> Tensor:
    """ln c − zφ, with φ such that Σz c + X = 0; by Newton's method on the ratio of charges.

    Only the last step is differentiated, which is exact at the root.
    """
    phi = torch.zeros_like(log_c[..., 0])
    for step in range(NEWTON):
        with torch.set_grad_enabled(step == NEWTON - 1):
            c = (log_c - charge * phi[..., None]).exp()
            up, down = c * charge.clamp(min=0), c * (-charge).clamp(min=0)
            plus, minus = up.sum(-1) + fixed.clamp(min=0), down.sum(-1) + (-fixed).clamp(min=0)
            slope = (up * charge).sum(-1) / plus - (down * charge).sum(-1) / minus
            phi = phi + (plus.log() - minus.log()) / slope
    return log_c - charge * phi[..., None]


class InformedNetwork(nn.Module):
    """A network of place, membrane, feed and flux for the profile, with the membranes' numbers.

    If `hard`, profile and permeate are made neutral by shifting all along Boltzmann factors; or
    neutrality is a residual.
    """

    def __init__(self, seen: Measurements, seed: int, *, hard: bool) -> None:
        super().__init__()
        self.ions, self.membranes, self.hard = seen.ions, seen.membranes, hard
        count = len(self.ions.names)
        self.network = Perceptron(
            (1 + seen.membranes + count, 24, 24, count + 2), linear=True, seed=seed
        )
        self.pores = nn.Parameter(torch.zeros(seen.membranes, 4, dtype=D))

    def raw(self, x: Tensor, data: Measurements) -> tuple[Tensor, Tensor, Tensor]:
        """ln c (mol/m³) before it is neutral, ψ (RT/F, zero in the feed), ψ of the permeate.

        At [case, place].
        """
        known = inputs(data, self.membranes)[:, None].expand(*x.shape, -1)
        out = self.network(torch.cat([x[..., None] - 0.5, known], -1))
        return data.feed.log()[:, None] - 1 + out[..., :-2], out[..., -2], out[..., -1]

    def shifted(self, log_c: Tensor, fixed: Tensor) -> Tensor:
        """Made neutral, if so it is to be."""
        return neutral(log_c, self.ions.charge, fixed) if self.hard else log_c

    def permeate(self, data: Measurements) -> Tensor:
        """ln c behind the membrane, at [case]."""
        z, membrane = self.ions.charge, membrane_of(self.pores[data.membrane], self.ions)
        x = torch.ones(len(data.feed), 1, dtype=D)
        log_c, psi, outside = self.raw(x, data)
        end = self.shifted(log_c, membrane.charge[:, None])[:, 0]
        passed = end - partition(membrane, self.ions).log() + z * (psi - outside)
        return self.shifted(passed, torch.zeros_like(membrane.charge))

    def residuals(self, data: Measurements) -> Tensor:
        """Of Nernst–Planck across the pore, partition at the feed, and neutrality unless hard."""
        z, membrane = self.ions.charge, membrane_of(self.pores[data.membrane], self.ions)
        assert data.flux is not None
        fixed = membrane.charge[:, None]
        x = torch.linspace(0, 1, ACROSS, dtype=D).repeat(len(data.feed), 1)

        def at(x: Tensor) -> tuple[Tensor, Tensor]:
            return self.raw(x, data)[:2]

        (log_c, psi), (slope, field) = jvp(at, (x,), (torch.ones_like(x),))[:2]
        log_c = self.shifted(log_c, fixed)
        if self.hard:
            carried = z * log_c.exp()
            slope = slope - z * ((carried * slope).sum(-1) / (carried @ z))[..., None]
        diffusion, convection = dechadilok_deen(size_ratio(membrane, self.ions))
        number = (data.flux * membrane.thickness)[:, None] / (diffusion * self.ions.diffusivity)
        passed = self.permeate(data)
        from_permeate = (passed[:, None] - log_c).clamp(max=20).exp()
        drag = number[:, None] * (convection[:, None] - from_permeate)
        scale = 1 + (number[:, None] * (convection[:, None] + from_permeate)).detach()
        balance = (slope - drag + z * field[..., None]) / scale
        entering = log_c[:, 0] - (data.feed * partition(membrane, self.ions)).log() + z * psi[:, :1]
        found = [balance.flatten(1), entering]
        if not self.hard:
            found += [charges(log_c, z, fixed), charges(passed, z, 0 * fixed[:, 0])[:, None]]
        return torch.cat(found, 1)


def charges(log_c: Tensor, charge: Tensor, fixed: Tensor) -> Tensor:
    """Logarithm of the ratio of positive to negative charges."""
    c = log_c.exp()
    plus = (c * charge.clamp(min=0)).sum(-1) + fixed.clamp(min=0)
    return plus.log() - ((c * (-charge).clamp(min=0)).sum(-1) + (-fixed).clamp(min=0)).log()


def partition(membrane: Membrane, ions: Ions) -> Tensor:
    """Steric and dielectric."""
    ratio = size_ratio(membrane, ions)
    return steric_partition(ratio) * born_partition(membrane, ions, Water())


def informed(
    seen: Measurements, held: Measurements, seed: int, *, hard: bool, iterations: int = 800
) -> Tensor:
    """Rejections by a physics-informed network, whose residuals are asked for in held feeds too."""
    model = InformedNetwork(seen, seed, hard=hard)
    measured = [seen.ions.names.index(name) for name in seen.measured]

    def rejected(data: Measurements) -> Tensor:
        return 1 - (model.permeate(data) - data.feed.log()).exp()[:, measured]

    def loss(_: nn.Module, both: tuple[Measurements, Measurements]) -> Tensor:
        misfit = ((rejected(both[0]) - both[0].rejection) / both[0].sigma).square()
        bounded = (2 * ((1 + misfit).sqrt() - 1)).sum()
        physics = sum((model.residuals(data) / SOFT).square().sum() for data in both)
        return (bounded + physics + model.pores.square().sum()) / len(seen.feed)

    fit(model, loss, (seen, held), LBFGS(iterations=iterations), weight_decay=1e-5)
    with torch.no_grad():
        return rejected(held)
