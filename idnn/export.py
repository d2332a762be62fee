"""Networks for other codes: a program of torch, a module of plain NumPy, a table of numbers."""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.resources import files
from itertools import product
from pathlib import Path
from pprint import pformat
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from idnn.files import write_atomically
from idnn.network import IntegrableNetwork
from idnn.order_parameters import System, ordered_partly
from idnn.units import BOLTZMANN_EV

EVALUATOR = "numpy_evaluator.py"
"""The source that `to_numpy` completes with numbers."""

MOST_STATES = 2_000_000
"""Of a grid: a table of more is no longer text that one wants."""


class _Program(nn.Module):
    """η → (f, μ) as one function."""

    def __init__(self, network: IntegrableNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(eta), self.network.gradients(eta).mean(0)


def to_torch_program(
    network: IntegrableNetwork, path: Path, *, dtype: torch.dtype = torch.float64
) -> None:
    """Write η[n, d] → (f[n], μ[n, d]) (eV/site) as a `torch.export` program for the CPU.

    `torch.export.load(path).module()` evaluates it where this package is not installed; n is free.
    The file `provenance.json` within it says what it is.

    Args:
        network: at one temperature; the mean of its members is written.
        path: of the .pt2 file.
        dtype: of η and of the results, float64 or float32.

    Raises:
        ValueError: another suffix, which torch would not read back, or another dtype.
    """
    if path.suffix != ".pt2":
        raise ValueError(f"`path` must end in .pt2, as torch wants it; it is {path.name}.")
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"`dtype` must be torch.float64 or torch.float32; it is {dtype}.")
    copy = network.gather([network], range(network.members)).requires_grad_(False)
    example = torch.zeros(3, network.system.dimension, dtype=dtype)
    exported = torch.export.export(
        _Program(copy.to("cpu", dtype)),
        (example,),
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    temporary = path.with_name(f".{path.name}")  # torch wants the suffix; renamed when complete
    torch.export.save(
        exported, temporary, extra_files={"provenance.json": json.dumps(provenance(network))}
    )
    temporary.replace(path)


def to_numpy(network: IntegrableNetwork, path: Path) -> None:
    """Write one Python file with f(eta), mu(eta) and hessian(eta) that needs NumPy alone.

    Args:
        network: at one temperature; the mean of its members is written.
        path: of the .py file, a name that Python can import.

    Raises:
        ValueError: the name is not that of a Python module.
    """
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ValueError(f"`path` must be a module's name such as gamma.py; it is {path.name}.")
    source = files("idnn").joinpath(EVALUATOR).read_text(encoding="utf-8")
    _, _, code = source.partition('"""\n')
    write_atomically(path, f'"""{_summary(network)}\n"""\n{code}\n\n{_numbers(network)}')


def to_table(network: IntegrableNetwork, eta: Float[Tensor, "sample d"], path: Path) -> None:
    """Write f and μ at given η as comma-separated text, all digits of them.

    Lines that begin with # say what it is; then the names of the columns: eta_0 …, site fractions
    x_1 …, f and mu_0 … in eV/site and, of a committee, the standard deviations of its members.

    Args:
        network: at one temperature.
        eta: states, such as those of `prototype_states` or `grid_states`.
        path: of the .csv file.
    """
    with torch.no_grad():
        values, gradients = network.values(eta), network.gradients(eta)
    columns = [eta, network.system.site_fractions(eta), values.mean(0)[:, None], gradients.mean(0)]
    d, s = network.system.q.shape
    energies = ["f", *(f"mu_{i}" for i in range(d))]
    names = [*(f"eta_{i}" for i in range(d)), *(f"x_{i + 1}" for i in range(s))]
    names += [f"{name}_eV_per_site" for name in energies]
    if network.members > 1:
        columns += [values.std(0)[:, None], gradients.std(0)]
        names += [f"{name}_sigma_eV_per_site" for name in energies]
    comment = "".join(f"# {line}".rstrip() + "\n" for line in _summary(network).splitlines())
    rows = (",".join(map(repr, row)) for row in torch.cat(columns, 1).double().tolist())
    write_atomically(path, comment + "\n".join([",".join(names), *rows]) + "\n")


def prototype_states(
    system: System, *, compositions: int = 101, shares: int = 11
) -> Float[Tensor, "sample d"]:
    """The disordered line and, per ordered prototype, a plane from disorder to greatest order.

    Args:
        system: whose prototypes are meant.
        compositions: from 0 to 1, both included.
        shares: of the greatest order at each composition, from 1/shares to 1.
    """
    _require_at_least(2, compositions=compositions)
    _require_at_least(1, shares=shares)
    x = torch.linspace(0, 1, compositions, dtype=torch.float64)[:, None]
    _, *ordered = system.prototypes.values()
    found = [x.expand(-1, system.q.shape[1])]
    for ideal in torch.tensor(ordered, dtype=torch.float64):
        found += [ordered_partly(ideal, x, (i + 1) / shares) for i in range(shares)]
    eta = system.order_parameters(torch.cat(found).clamp(0, 1))
    return eta[system.admissible(eta)] if system.domain is not None else eta


def grid_states(system: System, *, levels: int) -> Float[Tensor, "sample d"]:
    """All admissible states with every site fraction one of `levels` from 0 to 1.

    Raises:
        ValueError: there are more than 2 million, or fewer order parameters than sublattices.
    """
    _require_at_least(2, levels=levels)
    d, s = system.q.shape
    if d != s:
        raise ValueError(
            f"`levels` needs as many order parameters as sublattices; {system.name} has {d} and "
            f"{s}. Take the states of `prototype_states`."
        )
    if levels**s > MOST_STATES:
        raise ValueError(
            f"`levels` must leave at most {MOST_STATES:,} states; {levels} on {s} sublattices are "
            f"{levels**s:,}."
        )
    ends = torch.linspace(0, 1, levels, dtype=torch.float64).tolist()
    eta = system.order_parameters(torch.tensor(list(product(ends, repeat=s)), dtype=torch.float64))
    return eta[system.admissible(eta)] if system.domain is not None else eta


def provenance(network: IntegrableNetwork) -> dict[str, Any]:
    """What an exported network is."""
    return {
        "system": network.system.name,
        "temperature_K": network.temperature,
        "units": "eV/site",
        "prototypes": {name: list(x) for name, x in network.system.prototypes.items()},
        "q": network.system.q.tolist(),
        "members": network.members,
        "floor": network.settings.floor,
        "scalebridge": version("scalebridge"),
    }


def _summary(network: IntegrableNetwork) -> str:
    rows = "\n".join(f"  {row}" for row in network.system.q.tolist())
    phases = "\n".join(f"  {name}: {x}" for name, x in network.system.prototypes.items())
    return (
        f"Free energy f(eta) of {network.system.name} at {network.temperature!r} K, eV/site.\n\n"
        f"Written by scalebridge {version('scalebridge')}: the mean of a committee of "
        f"{network.members}. f is zero at eta = 0.\n"
        f"eta = Q x, x the fraction of the second species on each sublattice; the rows of Q are\n"
        f"{rows}\nPhases by the x of their ideal state:\n{phases}\n"
        f"Where some x is below {network.settings.floor:g} or above 1 minus that, x ln x is "
        "continued by its\nquadratic Taylor polynomial, so that f is finite outside [0, 1] too."
    )


def _numbers(network: IntegrableNetwork) -> str:
    """The constants of the evaluator as Python."""
    system, invariants = network.system, network.system.invariants
    weights, biases = (
        [p.detach().double().tolist() for p in group] for group in (network.weights, network.biases)
    )
    members = "".join(
        f"({_arrays([w[m] for w in weights])}, {_arrays([b[m] for b in biases])}),\n"
        for m in range(network.members)
    )
    return (
        f"TEMPERATURE = {network.temperature!r}\n"
        f"KT = {BOLTZMANN_EV * network.temperature!r}\n"
        f"FLOOR = {network.settings.floor!r}\n"
        f"ACTIVATION = {network.settings.activation!r}\n"
        f"Q_INVERSE = np.array({_wrapped(system.q_inverse.tolist())})\n"
        f"EXPONENTS = np.array({_wrapped(np.array(invariants.exponents).tolist())})\n"
        f"COEFFICIENTS = np.array({_wrapped(np.array(invariants.coefficients).tolist())})\n"
        f"MEMBERS = [\n{members}]\n"
    )


def _arrays(values: list[Any]) -> str:
    return "[\n" + ",\n".join(f"np.array({_wrapped(value)})" for value in values) + "\n]"


def _wrapped(value: list[Any]) -> str:
    return pformat(value, width=100, compact=True)


def _require_at_least(least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if value < least:
            raise ValueError(f"`{name}` must be at least {least}; it is {value}.")
