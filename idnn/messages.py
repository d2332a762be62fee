"""Networks and data as they travel to another process: by value, their tensors as arrays.

Torch's own way to send a tensor to a process moves its storage into shared memory, from under
every numpy view of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idnn.data import Data
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import System
from idnn.thermal import ThermalNetwork


@dataclass(frozen=True, eq=False)
class NetworkMessage:
    """A network."""

    system: System
    temperature: float | tuple[float, float]
    settings: NetworkSettings
    parameters: dict[str, np.ndarray]

    @staticmethod
    def of(network: IntegrableNetwork | ThermalNetwork) -> NetworkMessage:
        """The message of a network."""
        thermal = isinstance(network, ThermalNetwork)
        temperature = network.temperatures if thermal else network.temperature
        parameters = to_arrays(dict(network.named_parameters()))
        return NetworkMessage(network.system, temperature, network.settings, parameters)

    def network(self) -> IntegrableNetwork | ThermalNetwork:
        """The network again."""
        seeds = range(len(next(iter(self.parameters.values()))))
        if isinstance(self.temperature, tuple):
            network = ThermalNetwork(self.system, self.temperature, self.settings, seeds)
        else:
            network = IntegrableNetwork(self.system, self.temperature, self.settings, seeds)
        with torch.no_grad():
            for name, p in network.named_parameters():
                p.copy_(torch.from_numpy(self.parameters[name]))
        return network


@dataclass(frozen=True, eq=False)
class DataMessage:
    """Data of one kind."""

    kind: type[Data]
    entries: dict[str, np.ndarray | None]

    @staticmethod
    def of(data: Data) -> DataMessage:
        """The message of data."""
        entries = {field.name: getattr(data, field.name) for field in fields(data)}
        return DataMessage(type(data), {k: _array(v) for k, v in entries.items()})

    def data(self) -> Data:
        """The data again."""
        entries: dict[str, Any] = {
            k: None if v is None else torch.from_numpy(v) for k, v in self.entries.items()
        }
        return self.kind(**entries)


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors by name as arrays."""
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().numpy()
