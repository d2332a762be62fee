"""What a network is asked to meet, as residuals in units of their standard errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacrev, vmap

from idnn.activations import ACTIVATIONS
from idnn.checks import require_in_range
from idnn.data import Data, Derivatives, Hessians, Values, as_sequence
from idnn.free_energy import IdealMixing
from idnn.layers import Layers
from idnn.network import IntegrableNetwork
from idnn.order_parameters import System
from idnn.thermal import ThermalNetwork
from idnn.units import BOLTZMANN_EV

Parameters = Mapping[str, Tensor]
"""By name, in a fixed order."""

Rows = dict[str, Tensor]
"""What belongs to measurements, by name."""

BEYOND = 1e-6
"""By how much rounding may put a point outside the domain."""

_Layered = Callable[[Parameters], Layers]


@dataclass(frozen=True, eq=False)
class Block:
    """Residuals of one kind, of many members at once.

    Attributes:
        residual: (parameters, rows) → [member, row, component], in units of σ; parameters have a
            leading member axis.
        linearised: → the same, and its derivatives by all parameters in their order.
        rows: tensors by name, each with a leading axis of rows.
        components: of the residual in a row.
    """

    residual: Callable[[Parameters, Rows], Float[Tensor, "member row component"]]
    linearised: Callable[
        [Parameters, Rows],
        tuple[
            Float[Tensor, "member row component"], Float[Tensor, "member row component parameter"]
        ],
    ]
    rows: Rows
    components: int

    def __len__(self) -> int:
        return len(next(iter(self.rows.values())))


def by_autodiff(
    residual: Callable[[Parameters, Rows], Float[Tensor, " component"]],
    rows: Rows,
    components: int,
) -> Block:
    """A block from the residual of one member in one row, differentiated by `torch.func`."""

    def flat(parameters: Parameters, row: Rows) -> tuple[Tensor, Tensor]:
        value = residual(parameters, row)
        return value, value

    def over_all(function: Callable[..., Any]) -> Callable[..., Any]:
        return vmap(vmap(function, (None, 0)), (0, None))

    def linearised(parameters: Parameters, rows: Rows) -> tuple[Tensor, Tensor]:
        by_name, value = over_all(jacrev(flat, has_aux=True))(dict(parameters), rows)
        return value, torch.cat([by_name[name].flatten(3) for name in parameters], dim=-1)

    return Block(lambda p, r: over_all(residual)(dict(p), r), linearised, rows, components)


def blocks(model: IntegrableNetwork | ThermalNetwork, data: Data | Sequence[Data]) -> list[Block]:
    """The residuals of a network on data; all that does not depend on its weights is done here.

    Raises:
        ValueError: there are no data, a point lies outside the domain, a temperature is missing
            or is not the network's, or energies are given to a network of one temperature.
    """
    each = as_sequence(data)
    if not each:
        raise ValueError("`data` must hold at least one point to learn from; it holds none.")
    return [_block(model, d) for d in each]


def _block(model: IntegrableNetwork | ThermalNetwork, data: Data) -> Block:
    _require_inside(model.system, data.eta)
    kelvin = _temperatures(model, data)
    kt = BOLTZMANN_EV * kelvin
    rows, d = {"u": _inputs(model, data.eta, kelvin)}, data.eta.shape[1]
    ideal = IdealMixing(model.system.q, 1 / BOLTZMANN_EV, model.settings.floor)
    layers = partial(_layers, model.settings.activation)
    if isinstance(data, Derivatives):
        rows |= _pulled(model, data, kt[:, None] * ideal.gradient(data.eta), kt)
        return Block(partial(_gradient, layers), partial(_gradient_linearised, layers), rows, d)
    if isinstance(data, Hessians):
        rows |= _bent(model, data, kt[:, None, None] * ideal.hessian(data.eta), kt)
        return by_autodiff(partial(_hessian, layers), rows, d * d)
    pure = torch.zeros_like(data.eta)
    rows["pure"] = _inputs(model, pure, kelvin)
    if isinstance(data, Values):
        mixing = kt * (ideal(data.eta) - ideal(pure))
        rows |= {"scale": kt / data.sigma, "target": (data.value - mixing) / data.sigma}
        return Block(partial(_value, layers), partial(_value_linearised, layers), rows, 1)
    if not isinstance(model, ThermalNetwork):
        raise ValueError(
            "`data` may hold energies only for a network of a range of temperatures; this one has "
            f"{model.temperature:g} K alone."
        )
    pull = torch.zeros_like(rows["u"])
    pull[:, -1] = model.tau_slope / data.sigma
    rows |= {"pull": pull[:, None], "target": (data.value / data.sigma)[:, None]}
    return Block(partial(_energy, layers), partial(_energy_linearised, layers), rows, 1)


def _require_inside(system: System, eta: Tensor) -> None:
    if system.domain is None:
        x = system.site_fractions(eta)
        require_in_range("site fractions of eta", x, -BEYOND, 1 + BEYOND)
    else:
        beyond = eta @ system.domain.matrix.T.to(eta) - system.domain.bound.to(eta)
        require_in_range("A eta - b of the domain", beyond, -torch.inf, BEYOND)


def _layers(activation: str, parameters: Parameters) -> Layers:
    count = len(parameters) // 2
    return Layers(
        [parameters[f"weights.{i}"] for i in range(count + 1)],
        [parameters[f"biases.{i}"] for i in range(count)],
        ACTIVATIONS[activation],
    )


def _gradient(layers: _Layered, parameters: Parameters, rows: Rows) -> Tensor:
    slope = layers(parameters).slope(rows["u"])
    return torch.einsum("ndk,mnk->mnd", rows["pull"], slope) - rows["target"]


def _gradient_linearised(
    layers: _Layered, parameters: Parameters, rows: Rows
) -> tuple[Tensor, Tensor]:
    found = layers(parameters).directional_and_sensitivity(rows["u"], rows["pull"])
    return found[0] - rows["target"], found[1].flat()


def _energy(layers: _Layered, parameters: Parameters, rows: Rows) -> Tensor:
    pure = rows | {"u": rows["pure"], "target": torch.zeros_like(rows["target"])}
    return _gradient(layers, parameters, rows) - _gradient(layers, parameters, pure)


def _energy_linearised(
    layers: _Layered, parameters: Parameters, rows: Rows
) -> tuple[Tensor, Tensor]:
    pure = rows | {"u": rows["pure"], "target": torch.zeros_like(rows["target"])}
    here = _gradient_linearised(layers, parameters, rows)
    there = _gradient_linearised(layers, parameters, pure)
    return here[0] - there[0], here[1] - there[1]


def _value(layers: _Layered, parameters: Parameters, rows: Rows) -> Tensor:
    g = layers(parameters)
    difference = g.potential(rows["u"]) - g.potential(rows["pure"])
    return (rows["scale"] * difference - rows["target"])[..., None]


def _value_linearised(
    layers: _Layered, parameters: Parameters, rows: Rows
) -> tuple[Tensor, Tensor]:
    g = layers(parameters)
    here, there = (g.potential_and_sensitivity(rows[u]) for u in ("u", "pure"))
    value = rows["scale"] * (here[0] - there[0]) - rows["target"]
    slope = rows["scale"][:, None] * (here[1].flat() - there[1].flat())
    return value[..., None], slope[..., None, :]


def _hessian(layers: _Layered, parameters: Parameters, row: Rows) -> Tensor:
    slope, curvature = layers(parameters).slope_and_curvature(row["u"][None])
    jacobian, count = row["jacobian"], len(row["jacobian"])
    bent = jacobian.mT @ curvature[0, :count, :count] @ jacobian
    bent = bent + torch.einsum("k,kij->ij", slope[0, :count], row["second"])
    return (row["weight"] * bent - row["target"]).flatten()


def _pulled(
    model: IntegrableNetwork | ThermalNetwork, data: Derivatives, mixing: Tensor, kt: Tensor
) -> dict[str, Tensor]:
    """What takes ∂g/∂u to vᵀμ/σ for each direction v, and what is to be met."""
    jacobian = model.system.invariants.jacobian(data.eta)
    if isinstance(model, ThermalNetwork):
        jacobian = torch.cat([jacobian, torch.zeros_like(jacobian[:, :1])], dim=1)
    scale = (kt[:, None] / data.sigma)[..., None]
    return {
        "pull": scale * data.along(jacobian).mT,
        "target": data.along(data.mu - mixing) / data.sigma,
    }


def _bent(
    model: IntegrableNetwork | ThermalNetwork, data: Hessians, mixing: Tensor, kt: Tensor
) -> dict[str, Tensor]:
    """Of a symmetric matrix each component above the diagonal is met twice, at √2 σ."""
    once = torch.eye(data.eta.shape[1], dtype=torch.bool, device=data.eta.device)
    sigma = torch.where(once, data.sigma, 2**0.5 * data.sigma)
    return {
        "jacobian": model.system.invariants.jacobian(data.eta),
        "second": model.system.invariants.second(data.eta),
        "weight": kt[:, None, None] / sigma,
        "target": (data.hessian - mixing) / sigma,
    }


def _inputs(
    model: IntegrableNetwork | ThermalNetwork, eta: Tensor, kelvin: Tensor
) -> Float[Tensor, "sample input"]:
    if isinstance(model, ThermalNetwork):
        return model.inputs(eta, kelvin)
    return model.system.invariants(eta)


def _temperatures(
    model: IntegrableNetwork | ThermalNetwork, data: Data
) -> Float[Tensor, " sample"]:
    if isinstance(model, ThermalNetwork):
        if data.temperature is None:
            raise ValueError(
                "`temperature` must be given with every point that a network of a range of "
                "temperatures learns from; it is missing."
            )
        return data.temperature
    kelvin = data.eta.new_full((len(data),), model.temperature)
    if data.temperature is not None and not torch.equal(data.temperature, kelvin):
        raise ValueError(
            f"`temperature` must be the network's, {model.temperature:g} K; it is "
            f"{data.temperature.unique().tolist()}."
        )
    return kelvin
