"""Committees: members trained on noise of their own, whose spread is the uncertainty."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from idnn.data import Data, Derivatives, as_sequence
from idnn.levenberg import (
    LeastSquaresFit,
    LevenbergMarquardt,
    least_squares,
    posterior_samples,
)
from idnn.messages import DataMessage, NetworkMessage, to_arrays
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import System
from idnn.residuals import blocks
from idnn.runtime import one_torch_thread
from idnn.thermal import ThermalNetwork

AT_ONCE = 2
"""Members trained side by side in one process: enough that a second process has some as well."""

TRIAL = 15
"""Iterations without evidence after which the best of the restarts is kept."""

NEARBY = 5e-3
"""Of the invariants, which are of order one: data from a smaller part teach next to nothing of the
whole, and committees trained on them were sure and wrong."""

Network = TypeVar("Network", IntegrableNetwork, ThermalNetwork)


@dataclass(frozen=True, kw_only=True)
class CommitteeSettings:
    """How a committee is trained.

    Attributes:
        members: networks that differ in their initial weights and in the noise they saw.
        restarts: random initial weights tried for each member.
        discrepancy: eV/site, added in quadrature to every σ of μ: what no smooth f can follow.
        network: shape of each member.
        fit: the optimiser.
        seed: of initial weights and noise.
    """

    members: int = 8
    restarts: int = 2
    discrepancy: float = 1e-3
    network: NetworkSettings = field(default_factory=NetworkSettings)
    fit: LevenbergMarquardt = field(default_factory=LevenbergMarquardt)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members < 2:
            raise ValueError(f"`members` must be at least 2; it is {self.members}.")
        if self.restarts < 1:
            raise ValueError(f"`restarts` must be at least 1; it is {self.restarts}.")
        if not self.discrepancy >= 0:
            raise ValueError(f"`discrepancy` must not be negative; it is {self.discrepancy:g}.")

    @property
    def seeds(self) -> range:
        """Of the initial weights of all restarts of all members."""
        first = self.seed * 1_000_003
        return range(first, first + self.members * self.restarts)


@dataclass(frozen=True, eq=False)
class TrainedCommittee(Generic[Network]):
    """A trained committee.

    Attributes:
        network: its members.
        iterations: of each member.
        effective: number of parameters that the data determined in each member.
        noise: factor by which each member had to widen all σ, at least 1.
    """

    network: Network
    iterations: tuple[int, ...]
    effective: tuple[float, ...]
    noise: tuple[float, ...]


def train_committee(
    network: Network,
    data: Data | Sequence[Data],
    settings: CommitteeSettings,
    *,
    executor: Executor | None = None,
    observe: Callable[[int], None] | None = None,
) -> TrainedCommittee[Network]:
    """Train every member on data moved by noise of its own: randomise, then optimise.

    The members are then samples whose spread carries both the noise of the data and the freedom
    of the fit between them (Bardsley et al. 2014, doi:10.1137/140964023). The noises sum to zero,
    so that the mean of the members carries that of the data alone. Each descent to a sample may be
    as long as the fit: of few data it follows a bent valley, and samples taken early lie too close
    to the fit. The result does not depend on the executor.

    Args:
        network: what to start from, left as it is: random weights of the seeds `settings.seeds`,
            `settings.restarts` for each member.
        data: what to learn.
        settings: how.
        executor: where members train, side by side; here, pair by pair, if None.
        observe: called with the number of members done.

    Raises:
        ValueError: there are no data, they are all at one state or its images under the symmetry,
            nearly, the network has another number of members, or something is not on the CPU.
    """
    need = settings.members * settings.restarts
    if network.members != need:
        raise ValueError(
            f"`network` must have {need} members, {settings.restarts} restarts for each of "
            f"{settings.members}; it has {network.members}."
        )
    _require_cpu(network, as_sequence(data))
    floored = [
        d.with_floor(settings.discrepancy) if isinstance(d, Derivatives) else d
        for d in as_sequence(data)
    ]
    _require_different(network.system, floored)
    task = NetworkMessage.of(network), tuple(map(DataMessage.of, floored)), settings
    parts = [
        range(i, min(i + AT_ONCE, settings.members)) for i in range(0, settings.members, AT_ONCE)
    ]
    mapper: Callable[..., Iterable[_Trained]] = map if executor is None else executor.map
    found: list[_Trained] = []
    for part, trained in zip(parts, mapper(partial(_train, *task), parts), strict=True):
        found.append(trained)
        if observe is not None:
            observe(part.stop)
    parameters = {
        name: torch.from_numpy(np.concatenate([f.parameters[name] for f in found]))
        for name in found[0].parameters
    }
    return TrainedCommittee(
        network=_with_parameters(network, parameters),
        iterations=tuple(n for f in found for n in f.iterations),
        effective=tuple(n for f in found for n in f.effective),
        noise=tuple(n for f in found for n in f.noise),
    )


def _require_cpu(network: IntegrableNetwork | ThermalNetwork, data: Sequence[Data]) -> None:
    """Members train in processes of their own, which are sent arrays."""
    devices = {str(x.device) for x in (*network.parameters(), *(d.eta for d in data))}
    if devices != {"cpu"}:
        raise ValueError(
            "`network` and `data` must be on the CPU, where committees train; they are on "
            f"{' and '.join(sorted(devices))}. Move them with `.to('cpu')`, and the result back."
        )


def _require_different(system: System, data: Sequence[Data]) -> None:
    """Where f is known at one state alone the evidence prunes all by which it could vary."""
    if not data:
        return
    eta = torch.cat([d.eta for d in data])
    seen = system.invariants(eta)
    extent = float((seen.amax(0) - seen.amin(0)).max())
    if extent < NEARBY:
        raise ValueError(
            f"`data` must hold points whose invariants differ by {NEARBY:g} or more; all "
            f"{len(eta)} lie within {extent:.2g} of each other, near {eta[0].tolist()}."
        )


@dataclass(frozen=True, eq=False)
class _Trained:
    """What comes back of some members."""

    parameters: dict[str, np.ndarray]
    iterations: tuple[int, ...]
    effective: tuple[float, ...]
    noise: tuple[float, ...]


def _train(
    network: NetworkMessage,
    data: Sequence[DataMessage],
    settings: CommitteeSettings,
    members: range,
) -> _Trained:
    with one_torch_thread():
        fit = _fitted(network.network(), [d.data() for d in data], settings, members)
    return _Trained(
        parameters=to_arrays(fit.parameters),
        iterations=tuple(fit.iterations.tolist()),
        effective=tuple(fit.effective.tolist()),
        noise=tuple(fit.noise.tolist()),
    )


def _fitted(
    network: IntegrableNetwork | ThermalNetwork,
    data: Sequence[Data],
    settings: CommitteeSettings,
    members: range,
) -> LeastSquaresFit:
    targets = blocks(network, data)
    every = {name: p.detach() for name, p in network.named_parameters()}
    groups = prior_groups(every)
    count = settings.members
    tries = torch.tensor([[m + k * count for k in range(settings.restarts)] for m in members])
    first = least_squares(
        {name: p[tries.flatten()] for name, p in every.items()},
        targets,
        replace(settings.fit, iterations=TRIAL, evidence=False),
        linear=f"weights.{len(network.settings.widths)}",
    )
    best = first.objective.reshape(tries.shape).argmin(1)
    best = best + settings.restarts * torch.arange(len(tries))
    start = {name: p[best] for name, p in first.parameters.items()}
    fit = least_squares(start, targets, settings.fit, groups=groups)
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + 715_827_883)
    noise = partial(_noise, generator, settings.members)
    return posterior_samples(
        fit,
        targets,
        settings.fit,
        data_noise=[noise(len(b), b.components)[list(members)] for b in targets],
        prior_noise=noise(fit.precision.shape[1])[list(members)],
    )


def _noise(generator: torch.Generator, members: int, *shape: int) -> Tensor:
    """Standard normal numbers; they sum to zero over members."""
    z = torch.randn(members, *shape, generator=generator, dtype=torch.float64)
    return (z - z.mean(0)) * (members / (members - 1)) ** 0.5


def prior_groups(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each input has a prior of its own, so that those of little use are left out (MacKay 1994)."""
    first = parameters["weights.0"]
    return {"weights.0": torch.arange(first.shape[1])[:, None]}


def _with_parameters(network: Network, parameters: Mapping[str, Tensor]) -> Network:
    """A network like another, with other members."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for name, p in other.named_parameters():
            p.data = parameters[name].clone()
    return other
