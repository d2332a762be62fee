"""Stiff problems that solvers are judged by, with their reference solutions.

From the test set for initial value problem solvers (Mazzia & Magherini, release 2.4, 2008) unless
another source is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.ode.problem import Field
from idnn.ode.reactions import MassAction


@dataclass(frozen=True, eq=False)
class StiffProblem:
    """dy/dt = f(t, y, p) from t = 0 on.

    Attributes:
        f: the right-hand side.
        parameters: p.
        y0: the start.
        references: states by their time.
        scale: below which components do not count, for absolute tolerances.
        jacobian: ∂f/∂y.
    """

    f: Field
    parameters: Float[Tensor, " parameter"]
    y0: Float[Tensor, " n"]
    references: Mapping[float, Float[Tensor, " n"]]
    scale: Float[Tensor, " n"]
    jacobian: Field | None = None


def robertson() -> StiffProblem:
    """Three species over eleven decades of time (Robertson 1966).

    The state at 10¹¹ is that of the test set; the others were found by Radau IIA with a relative
    tolerance of 10⁻¹².
    """
    reactions = MassAction([(0,), (1, 1), (1, 2)], _numbers([-1, 1, 0], [0, -1, 1], [1, -1, 0]))
    references = {
        0.4: (0.9851721138609906, 3.3863953789749476e-05, 0.014794022185218796),
        40.0: (0.7158270687194116, 9.185534764558162e-06, 0.28416374574582254),
        4e3: (0.183202257776703, 8.94237125277527e-07, 0.8167968479861692),
        1e5: (0.017865921142108786, 7.274751468440194e-08, 0.9821340061103752),
        1e11: (2.083340149701255e-08, 8.333360770334713e-14, 0.9999999791665050),
    }
    return StiffProblem(
        reactions,
        _numbers(0.04, 3e7, 1e4),
        _numbers(1, 0, 0),
        {t: _numbers(*y) for t, y in references.items()},
        _numbers(1e-2, 1e-8, 1e-2),
        reactions.jacobian,
    )


POLLU_SPECIES = (
    *("NO2", "NO", "O3P", "O3", "HO2", "OH", "CH2O", "CO", "ALD", "MEO2"),
    *("C2O3", "CO2", "PAN", "CH3O", "HNO3", "O1D", "SO2", "SO4", "NO3", "N2O5"),
)

_POLLU = (
    *("NO2 > NO O3P", "NO O3 > NO2", "HO2 NO > OH NO2", "CH2O > HO2 HO2 CO", "CH2O > CO"),
    *("CH2O OH > HO2 CO", "ALD > MEO2 CO HO2", "ALD OH > C2O3", "C2O3 NO > NO2 CO2 MEO2"),
    *("C2O3 NO2 > PAN", "PAN > C2O3 NO2", "MEO2 NO > CH3O NO2", "CH3O > CH2O HO2"),
    *("NO2 OH > HNO3", "O3P > O3", "O3 > O1D", "O3 > O3P", "O1D > OH OH", "O1D > O3P"),
    *("SO2 OH > SO4 HO2", "NO3 > NO", "NO3 > NO2 O3P", "NO2 O3 > NO3", "NO3 NO2 > N2O5"),
    "N2O5 > NO2 NO3",
)


def pollu() -> StiffProblem:
    """Air pollution: 20 species (ppm) and 25 reactions over 60 minutes.

    Verwer 1994, doi:10.1137/0915076.
    """
    sides = [[side.split() for side in reaction.split(">")] for reaction in _POLLU]
    number = {name: i for i, name in enumerate(POLLU_SPECIES)}
    change = torch.zeros(len(sides), len(number), dtype=torch.float64)
    for r, (used, made) in enumerate(sides):
        for sign, names in ((-1, used), (1, made)):
            for name in names:
                change[r, number[name]] += sign
    reactions = MassAction([[number[name] for name in used] for used, _ in sides], change)
    y0 = torch.zeros(len(number), dtype=torch.float64)
    start = {"NO": 0.2, "O3": 0.04, "CH2O": 0.1, "CO": 0.3, "ALD": 0.01, "SO2": 0.007}
    for name, value in start.items():
        y0[number[name]] = value
    k = (
        *(0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9e3, 0.022, 1.2e4),
        *(1.88, 1.63e4, 4.8e6, 3.5e-4, 0.0175, 1e8, 4.44e11, 1.24e3, 2.1, 5.78, 0.0474, 1.78e3),
        3.12,
    )
    end = (
        *(0.5646255480022769e-1, 0.1342484130422339, 0.4139734331099427e-8),
        *(0.5523140207484359e-2, 0.2018977262302196e-6, 0.1464541863493966e-6),
        *(0.7784249118997964e-1, 0.3245075353396018, 0.7494013383880406e-2),
        *(0.1622293157301561e-7, 0.1135863833257075e-7, 0.2230505975721359e-2),
        *(0.2087162882798630e-3, 0.1396921016840158e-4, 0.8964884856898295e-2),
        *(0.4352846369330103e-17, 0.6899219696263405e-2, 0.1007803037365946e-3),
        *(0.1772146513969984e-5, 0.5682943292316392e-4),
    )
    return StiffProblem(
        reactions,
        _numbers(*k),
        y0,
        {60.0: _numbers(*end)},
        torch.full_like(y0, 1e-6),
        reactions.jacobian,
    )


def van_der_pol() -> StiffProblem:
    """A relaxation oscillation: y₁′ = y₂ and y₂′ = p((1 − y₁²)y₂ − y₁) with p = 10⁶."""

    def f(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
        del t
        x, v = y.unbind(-1)
        return torch.stack([v, p[..., 0] * ((1 - x * x) * v - x)], -1)

    end = _numbers(0.1706167732170469e1, -0.8928097010247975)
    return StiffProblem(f, _numbers(1e6), _numbers(2, 0), {2.0: end}, _numbers(1, 1))


def oregonator() -> StiffProblem:
    """An oscillating reaction over seven decades (Field & Noyes 1974, doi:10.1063/1.1681288)."""

    def f(t: Tensor, y: Tensor, p: Tensor) -> Tensor:
        del t
        (a, b, c), (s, q, w) = y.unbind(-1), p.unbind(-1)
        return torch.stack([s * (b + a * (1 - q * a - b)), (c - (1 + a) * b) / s, w * (a - c)], -1)

    end = _numbers(0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3)
    p = _numbers(77.27, 8.375e-6, 0.161)
    return StiffProblem(f, p, _numbers(1, 2, 3), {360.0: end}, _numbers(1, 1, 1))


PROBLEMS: Mapping[str, Callable[[], StiffProblem]] = {
    "robertson": robertson,
    "pollu": pollu,
    "van der Pol": van_der_pol,
    "oregonator": oregonator,
}


def _numbers(*values: float | list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
