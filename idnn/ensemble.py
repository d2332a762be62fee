"""Committees: members trained on resampled noise, whose spread is the uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from idnn.data import Derivatives
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import System
from idnn.runtime import one_torch_thread
from idnn.train import FitSettings, derivative_loss, fit, prepare


@dataclass(frozen=True, kw_only=True)
class CommitteeSettings:
    """How a committee is trained.

    Attributes:
        members: networks that differ in their initial weights and in the noise they saw.
        discrepancy: eV/site, added in quadrature to every σ: what no smooth f can follow.
        network: shape of each member.
        fit: the optimiser.
        seed: of initial weights and noise.
    """

    members: int = 5
    discrepancy: float = 1e-3
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members < 2:
            raise ValueError(f"`members` must be at least 2; it is {self.members}.")
        if not self.discrepancy >= 0:
            raise ValueError(f"`discrepancy` must not be negative; it is {self.discrepancy:g}.")


def train_committee(
    system: System,
    temperature: float,
    data: Derivatives,
    settings: CommitteeSettings,
    *,
    start: IntegrableNetwork | None = None,
    executor: Executor | None = None,
    observe: Callable[[int], None] | None = None,
) -> IntegrableNetwork:
    """Train every member on μ + σε with its own ε ~ N(0, 1): randomise, then optimise.

    The members are then samples whose spread carries both the noise of the data and the freedom
    of the fit between them (Bardsley et al. 2014, doi:10.1137/140964023). The result does not
    depend on the executor: each member trains alone on one thread.

    Args:
        system: the ordering crystal.
        temperature: K.
        data: what to learn.
        settings: how.
        start: a committee of the same shape whose members are trained on; fresh ones if None.
        executor: where members train, side by side; here, one by one, if None.
        observe: called with the number of members done.

    Raises:
        ValueError: there are no data.
    """
    if len(data) == 0:
        raise ValueError("`data` must hold at least one point to learn from; it holds none.")
    train = partial(_train_member, system, temperature, _Arrays.of(data), settings)
    starts = [None if start is None else _weights(start.member(i)) for i in range(settings.members)]
    mapper: Callable[..., Iterable[Weights]] = map if executor is None else executor.map
    networks = []
    for weights in mapper(train, range(settings.members), starts):
        network = IntegrableNetwork(system, temperature, settings.network)
        _set_weights(network, weights)
        networks.append(network)
        if observe is not None:
            observe(len(networks))
    return IntegrableNetwork.gather(networks, range(settings.members))


Weights = list[np.ndarray]
"""A member's parameters. Only arrays go to a worker and back: torch would move the storage of a
tensor that it pickles into shared memory, from under every numpy view of it."""


@dataclass(frozen=True, eq=False)
class _Arrays:
    """`Derivatives` as arrays."""

    eta: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray
    directions: np.ndarray | None

    @staticmethod
    def of(data: Derivatives) -> _Arrays:
        directions = None if data.directions is None else data.directions.numpy()
        return _Arrays(data.eta.numpy(), data.mu.numpy(), data.sigma.numpy(), directions)

    def derivatives(self) -> Derivatives:
        directions = None if self.directions is None else torch.from_numpy(self.directions)
        eta, mu, sigma = (torch.from_numpy(a) for a in (self.eta, self.mu, self.sigma))
        return Derivatives(eta, mu, sigma, directions)


def _weights(network: IntegrableNetwork) -> Weights:
    return [p.detach().numpy() for p in network.parameters()]


def _set_weights(network: IntegrableNetwork, weights: Weights) -> None:
    with torch.no_grad():
        for parameter, values in zip(network.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(values))


def _train_member(
    system: System,
    temperature: float,
    arrays: _Arrays,
    settings: CommitteeSettings,
    index: int,
    start: Weights | None,
) -> Weights:
    data = arrays.derivatives()
    seed = settings.seed * 1_000_003 + index
    generator = torch.Generator().manual_seed(seed)
    noisy = data.perturbed(torch.randn(data.mu.shape, generator=generator, dtype=data.mu.dtype))
    network = IntegrableNetwork(system, temperature, settings.network, seeds=(seed,))
    if start is not None:
        _set_weights(network, start)
    with one_torch_thread():
        batch = prepare(network, noisy.with_floor(settings.discrepancy))
        fit(network, derivative_loss, batch, settings.fit)
    return _weights(network)
