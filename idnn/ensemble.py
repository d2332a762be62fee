"""Committees: members trained on resampled noise, whose spread is the uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

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
    """
    train = partial(_train_member, system, temperature, data, settings, start)
    mapper: Callable[..., Iterable[IntegrableNetwork]] = map if executor is None else executor.map
    networks = []
    for network in mapper(train, range(settings.members)):
        networks.append(network)
        if observe is not None:
            observe(len(networks))
    return IntegrableNetwork.gather(networks, range(settings.members))


def _train_member(
    system: System,
    temperature: float,
    data: Derivatives,
    settings: CommitteeSettings,
    start: IntegrableNetwork | None,
    index: int,
) -> IntegrableNetwork:
    seed = settings.seed * 1_000_003 + index
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(data.mu.shape, generator=generator, dtype=data.mu.dtype)
    noisy = Derivatives(data.eta, data.mu + data.sigma * noise, data.sigma)
    if start is None:
        network = IntegrableNetwork(system, temperature, settings.network, seeds=(seed,))
    else:
        network = start.member(index)
    with one_torch_thread():
        batch = prepare(network, noisy.with_floor(settings.discrepancy))
        fit(network, derivative_loss, batch, settings.fit)
    return network
