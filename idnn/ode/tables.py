"""Coefficients of the methods, as published, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Numbers = Sequence[float]


@dataclass(frozen=True, eq=False)
class RosenbrockTable:
    """(I/γ − hJ)uᵢ = h f(t + cᵢh, y + Σ aᵢⱼuⱼ) + Σ eᵢⱼuⱼ + dᵢh² ∂f/∂t.

    The form without products by J (Hairer & Wanner 1996, doi:10.1007/978-3-642-05221-7, IV.7).

    Attributes:
        gamma: γ.
        inner: a, strictly lower triangular.
        coupling: e, strictly lower triangular.
        nodes: c.
        in_time: d.
        weights: of u in y₁ − y₀.
        error: of u in the estimated error.
        bends: of u in K of the dense output, one row for each power of θ.
    """

    gamma: float
    inner: Float[Tensor, "s s"]
    coupling: Float[Tensor, "s s"]
    nodes: Float[Tensor, " s"]
    in_time: Float[Tensor, " s"]
    weights: Float[Tensor, " s"]
    error: Float[Tensor, " s"]
    bends: Float[Tensor, "power s"]

    @cached_property
    def both(self) -> Float[Tensor, "s 2 s"]:
        """A and e."""
        return torch.stack([self.inner, self.coupling], 1)

    @cached_property
    def result(self) -> Float[Tensor, "2 s"]:
        """Weights of the step and of its error."""
        return torch.stack([self.weights, self.error])

    @staticmethod
    def of(
        alpha: Sequence[Numbers],
        gamma: Sequence[Numbers],
        weights: Numbers,
        error: Numbers,
        bends: Sequence[Numbers],
    ) -> RosenbrockTable:
        """From kᵢ = f(y + hΣαᵢⱼkⱼ) + hJΣγᵢⱼkⱼ, with u = hΓk."""
        a, g = _square(alpha), _square(gamma)
        own, inverse = float(g[0, 0]), torch.linalg.inv(_square(gamma))
        return RosenbrockTable(
            own,
            a @ inverse,
            torch.eye(len(g)).to(g) / own - inverse,
            a.sum(1),
            g.sum(1),
            _vector(weights) @ inverse,
            _vector(error) @ inverse,
            _matrix(bends) @ inverse,
        )


@dataclass(frozen=True, eq=False)
class RungeKuttaTable:
    """kᵢ = f(t + cᵢh, y + hΣ aᵢⱼkⱼ): explicit, or with γ on the diagonal from the second stage on.

    Attributes:
        inner: a.
        weights: of hk in y₁ − y₀.
        error: of hk in the estimated error.
        gamma: the diagonal; 0 of explicit methods.
        order: to which the dense output is right.
    """

    inner: Float[Tensor, "s s"]
    weights: Float[Tensor, " s"]
    error: Float[Tensor, " s"]
    gamma: float
    order: int

    @cached_property
    def nodes(self) -> Float[Tensor, " s"]:
        """c = Σ a."""
        return self.inner.sum(1)

    @cached_property
    def result(self) -> Float[Tensor, "2 s"]:
        """Weights of the step and of its error."""
        return torch.stack([self.weights, self.error])

    @cached_property
    def bends(self) -> Float[Tensor, "power s"]:
        """Of hk in K of the dense output y₀ + θ(y₁ − y₀) + θ(1 − θ)(K₀ + θK₁ + θ²K₂).

        The shortest coefficients that meet the conditions of every rooted tree of up to `order`
        nodes. Of implicit methods the states of the stages are combined instead of their slopes,
        for slopes hold the errors of states times the stiffest eigenvalue; and what these states
        are when f is stiff, those of the slow motion at the nodes, is met to its fourth power.
        """
        each = self.inner if self.gamma else torch.eye(len(self.inner), dtype=self.inner.dtype)
        rows, wanted = [], []
        for tree in (tree for size in range(1, self.order + 1) for tree in _trees(size)):
            rows.append(each @ _weights_of(tree, self.inner))
            wanted.append(_bend(_size(tree), 1 / _density(tree)))
        for power in (3, 4) if self.gamma else ():
            rows.append(self.nodes**power)
            wanted.append(_bend(power, 1.0))
        found = torch.linalg.lstsq(torch.stack(rows), torch.stack(wanted), driver="gelsd").solution
        return found.T @ each


def _bend(power: int, value: float) -> Float[Tensor, " power"]:
    """Coefficients b of (θᵖ − θ)v = θ(1 − θ)(b₀ + b₁θ + b₂θ²)."""
    out = torch.zeros(3, dtype=torch.float64)
    out[: power - 1] = -value
    return out


Tree = tuple[Any, ...]
"""A root, as its branches: trees."""


@cache
def _trees(size: int) -> tuple[Tree, ...]:
    """All rooted trees with so many nodes."""

    def forests(nodes: int, largest: int) -> list[Tree]:
        if nodes == 0:
            return [()]
        return [
            (first, *rest)
            for n in range(min(nodes, largest), 0, -1)
            for first in _trees(n)
            for rest in forests(nodes - n, n)
        ]

    return tuple({tuple(sorted(branches)) for branches in forests(size - 1, size - 1)})


def _size(tree: Tree) -> int:
    return 1 + sum(map(_size, tree))


def _density(tree: Tree) -> int:
    """γ(τ) (Butcher; Hairer, Nørsett & Wanner 1993, doi:10.1007/978-3-540-78862-1, II.2)."""
    return _size(tree) * math.prod(map(_density, tree))


def _weights_of(tree: Tree, inner: Tensor) -> Tensor:
    """Φᵢ(τ): the product over branches of Σⱼ aᵢⱼΦⱼ."""
    out = torch.ones(len(inner), dtype=inner.dtype)
    for branch in tree:
        out = out * (inner @ _weights_of(branch, inner))
    return out


def _vector(values: Numbers) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _matrix(rows: Sequence[Numbers]) -> Tensor:
    return torch.tensor([list(row) for row in rows], dtype=torch.float64)


def _square(rows: Sequence[Numbers]) -> Tensor:
    """Rows of a lower triangle, filled up with zeros."""
    return _matrix([[*row, *[0.0] * (len(rows) - len(row))] for row in rows])


@cache
def rodas5p() -> RosenbrockTable:
    """Steinebach 2023, doi:10.1007/s10543-023-00967-x."""
    last = (-7.502846399306121, 2.561846144803919, -11.627539656261098)
    last = (*last, -0.18268767659942256, 0.030198172008377946)
    inner = _square(
        [
            (),
            (3.0,),
            (2.849394379747939, 0.45842242204463923),
            (-6.954028509809101, 2.489845061869568, -10.358996098473584),
            (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
            last,
            (*last, 1.0),
            (*last, 1.0, 1.0),
        ]
    )
    coupling = _square(
        [
            (),
            (-14.155112264123755,),
            (-17.97296035885952, -2.859693295451294),
            (147.12150275711716, -1.41221402718213, 71.68940251302358),
            (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
            (
                24.854864614690072,
                -3.0009227002832186,
                47.4931110020768,
                5.5814197821558125,
                -0.6610691825249471,
            ),
            (
                30.91273214028599,
                -3.1208243349937974,
                77.79954646070892,
                34.28646028294783,
                -19.097331116725623,
                -28.087943162872662,
            ),
            (
                37.80277123390563,
                -3.2571969029072276,
                112.26918849496327,
                66.9347231244047,
                -40.06618937091002,
                -54.66780262877968,
                -9.48861652309627,
            ),
        ]
    )
    bends = [
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ]
    unit = torch.eye(8, dtype=torch.float64)[7]
    return RosenbrockTable(
        0.21193756319429014,
        inner,
        coupling,
        _vector(
            (
                0.0,
                0.6358126895828704,
                0.4095798393397535,
                0.9769306725060716,
                0.4288403609558664,
                1.0,
                1.0,
                1.0,
            )
        ),
        _vector(
            (
                0.21193756319429014,
                -0.42387512638858027,
                -0.3384627126235924,
                1.8046452872882734,
                2.325825639765069,
                0.0,
                0.0,
                0.0,
            )
        ),
        inner[7] + unit,
        unit,
        _matrix(bends),
    )


@cache
def rodas4() -> RosenbrockTable:
    """Hairer & Wanner 1996, doi:10.1007/978-3-642-05221-7, IV.7: their RODAS."""
    last = (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.687886036105895)
    inner = _square(
        [
            (),
            (1.544,),
            (0.9466785280815826, 0.2557011698983284),
            (3.314825187068521, 2.896124015972201, 0.9986419139977817),
            last,
            (*last, 1.0),
        ]
    )
    coupling = _square(
        [
            (),
            (-5.6688,),
            (-2.430093356833875, -0.2063599157091915),
            (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
            (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.7089089320616),
            (
                *(8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136),
                -6.058818238834054,
            ),
        ]
    )
    bends = [
        (
            *(10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823),
            *(1.025137723295662, 0.0),
        ),
        (
            *(-0.6762803392801253, 6.087714651680015, 16.43084320892478, 24.76722511418386),
            *(-6.594389125716872, 0.0),
        ),
    ]
    unit = torch.eye(6, dtype=torch.float64)[5]
    return RosenbrockTable(
        0.25,
        inner,
        coupling,
        _vector((0.0, 0.386, 0.21, 0.63, 1.0, 1.0)),
        _vector((0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0)),
        inner[5] + unit,
        unit,
        _matrix(bends),
    )


@cache
def rosenbrock23() -> RosenbrockTable:
    """Shampine & Reichelt 1997, doi:10.1137/S1064827594276424, with their f₁ and f₂ eliminated."""
    d, e = 1 / (2 + math.sqrt(2)), 6 + math.sqrt(2)
    bend = 1 / (1 - 2 * d)
    return RosenbrockTable.of(
        [(), (0.5,), (0.0, 1.0)],
        [(d,), (-d, d), (d * (e - 2), -d * e, d)],
        (0.0, 1.0, 0.0),
        (1 / 6, -1 / 3, 1 / 6),
        [(bend, -bend, 0.0)],
    )


@cache
def kvaerno5() -> RungeKuttaTable:
    """Kværnø 2004, doi:10.1023/B:BITN.0000046811.70614.38: L-stable, stiffly accurate."""
    gamma = 0.26
    inner = [
        (0.0,),
        (gamma, gamma),
        (0.13, 0.84033320996790809, gamma),
        (0.22371961478320505, 0.47675532319799699, -0.06470895363112615, gamma),
        (
            0.16648564323248321,
            0.10450018841591720,
            0.03631482272098715,
            -0.13090704451073998,
            gamma,
        ),
        (
            0.13855640231268224,
            0.0,
            -0.04245337201752043,
            0.02446657898003141,
            0.61943039072480676,
            gamma,
        ),
        (
            0.13659751177640291,
            0.0,
            -0.05496908796538376,
            -0.04118626728321046,
            0.62993304899016403,
            0.06962479448202728,
            gamma,
        ),
    ]
    a = _square(inner)
    return RungeKuttaTable(a, a[6], a[6] - a[5], gamma, 3)


@cache
def tsit5() -> RungeKuttaTable:
    """Tsitouras 2011, doi:10.1016/j.camwa.2011.06.002."""
    last = (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742)
    last = (*last, -3.290069515436081, 2.324710524099774)
    inner = [
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.897153057105493, -6.359448489975075, 4.362295432869581),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.861455442946420,
            -12.92096931784711,
            8.159367898576159,
            -0.0715849732814010,
            -0.02826905039406838,
        ),
        last,
    ]
    other = (0.09468075576583946, 0.009183565540343254, 0.4877705284247616, 1.234297566930479)
    other = (*other, -2.7077123499835256, 1.866628418170587, 1 / 66)
    a = _square(inner)
    return RungeKuttaTable(a, a[6], a[6] - _vector(other), 0.0, 4)
