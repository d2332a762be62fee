"""A tetrahedron of four sublattices at fixed fractions: its stationary state, followed in 1/T."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

import torch
from jaxtyping import Bool, Float
from torch import Tensor

OCCUPIED = torch.tensor(list(product((0.0, 1.0), repeat=4)), dtype=torch.float64)
"""The sixteen states, [state, sublattice]."""

SPIN = 1 - 2 * OCCUPIED
"""Their spins."""

PAIR = torch.stack(
    [
        ((OCCUPIED[:, a] == i) & (OCCUPIED[:, b] == j)).double()
        for a, b in combinations(range(4), 2)
        for i, j in product((0, 1), repeat=2)
    ],
    dim=-1,
)
"""Whether a state has each of the four states of each of the six pairs, [state, 24]."""

CONVERGED = 1e-12
"""Largest residual of a stationary state; rounding leaves about 1e-14."""

ON_THE_WAY = 1e-6
"""Largest residual at higher temperatures on the way there."""

REACH = 0.05
"""Largest correction of ln z (root mean square): further off may be another stationary state."""

FIRST_STEP, LEAST_STEP = 0.2, 1e-4
"""Of the way from no interaction to the whole: the first step, and the one at which to give up."""

NEWTON_STEPS = 8
"""After each step on the way. Convergence is quadratic."""


@dataclass(frozen=True, eq=False)
class State:
    """F = Σ z (w + 2 ln z) − Σ_pairs Σ y ln y + 5/4 Σ_s Σ x ln x (k_BT/site) about some z.

    A change of z is written dz = √z v; its size |v| is the root mean square of d ln z. So measured
    ∂²F is 2 − Σ_pairs (projection on the functions of the pair), bounded however small a
    probability is. Newton's step and all derivatives are taken in a frame whose first five axes
    change the norm and the fractions, and whose last eleven, the free ones, do not.

    Attributes:
        x: the fractions to hold.
        log_z: ln z.
        interaction: w, twice the energy of a tetrahedron over k_BT.
    """

    x: Float[Tensor, "sample 4"]
    log_z: Float[Tensor, "sample 16"]
    interaction: Float[Tensor, "sample 16"]

    @property
    def z(self) -> Float[Tensor, "sample 16"]:
        """Probability of each state."""
        return self.log_z.exp()

    @property
    def free_energy(self) -> Float[Tensor, " sample"]:
        """F."""
        pairs = torch.xlogy(self._y, self._y).sum(-1)
        corners = (torch.xlogy(self.x, self.x) + torch.xlogy(1 - self.x, 1 - self.x)).sum(-1)
        return (self.z * (self.interaction + 2 * self.log_z)).sum(-1) - pairs + 1.25 * corners

    @property
    def slope(self) -> Float[Tensor, "sample 4"]:
        """∂F/∂x of the stationary state: the multipliers of the fractions, and 5/4 ln x/(1−x)."""
        multipliers = self._solve_scale(self._force[:, :5, None])[:, 1:, 0]
        return multipliers + 1.25 * self.x.logit()

    @property
    def curvature(self) -> Float[Tensor, "sample 4 4"]:
        """∂²F/∂x² of the stationary state, by elimination of the free axes."""
        mixed = self._stiffness[:, :5, 5:]
        relaxed = self._stiffness[:, :5, :5] - mixed @ torch.cholesky_solve(mixed.mT, self._factor)
        by_fraction = self._solve_scale(self._solve_scale(relaxed).mT)[:, 1:, 1:]
        return by_fraction + torch.diag_embed(1.25 / (self.x * (1 - self.x)))

    @property
    def residual(self) -> Float[Tensor, " sample"]:
        """Size of what is left of ∂F/∂z along the free axes, and of z off the fractions."""
        return torch.hypot(self._force[:, 5:].norm(dim=-1), self._misfit.norm(dim=-1))

    @property
    def stable(self) -> Bool[Tensor, " sample"]:
        """Whether ∂²F along the free axes is positive: at a stationary state, a minimum."""
        return self._cholesky[1] == 0

    def correction(self) -> Float[Tensor, "sample 16"]:
        """Newton's v towards the stationary state at the fractions to hold."""
        mixed = (self._misfit[:, None] @ self._stiffness[:, :5, 5:])[:, 0]
        return self._turned_back(self._misfit, self._force[:, 5:] + mixed)

    def response(self, change: Float[Tensor, "sample 16"]) -> Float[Tensor, "sample 16"]:
        """First-order v of the stationary state to a change of w."""
        push = ((self._root * change)[:, None] @ self._frame[0])[:, 0, 5:]
        return self._turned_back(torch.zeros_like(self._misfit), push)

    def moved(self, v: Float[Tensor, "sample 16"]) -> Float[Tensor, "sample 16"]:
        """The ln z that v leads to."""
        return self.log_z + v / self._root

    @cached_property
    def _root(self) -> Tensor:
        return (self.log_z / 2).exp()

    @cached_property
    def _y(self) -> Tensor:
        return self.z @ PAIR.to(self.x)

    @cached_property
    def _frame(self) -> tuple[Tensor, Tensor]:
        """Its axes as columns; the first five times the second are 1 and the occupations."""
        occupied = OCCUPIED.to(self.x) - self.x[:, None]
        held = torch.cat([torch.ones_like(occupied[..., :1]), occupied], -1)
        axes, scale = torch.linalg.qr(self._root[..., None] * held, mode="complete")
        return axes, scale[:, :5]

    @cached_property
    def _force(self) -> Tensor:
        """∂F/∂z in the frame."""
        slope = self.interaction + 2 * self.log_z - self._y.log() @ PAIR.T.to(self.x)
        return ((self._root * slope)[:, None] @ self._frame[0])[:, 0]

    @cached_property
    def _stiffness(self) -> Tensor:
        """∂²F in the frame."""
        by_pair = self._root[..., None] * PAIR.to(self.x) / self._y.sqrt()[:, None]
        turned = self._frame[0].mT @ by_pair
        return 2 * torch.eye(16).to(self.x) - turned @ turned.mT

    @cached_property
    def _cholesky(self) -> tuple[Tensor, Tensor]:
        factor, info = torch.linalg.cholesky_ex(self._stiffness[:, 5:, 5:])
        return factor, info

    @property
    def _factor(self) -> Tensor:
        return self._cholesky[0]

    @cached_property
    def _misfit(self) -> Tensor:
        """What z lacks of its norm and fractions, in the frame."""
        norm = 1 - self.z.sum(-1, keepdim=True)
        lacking = torch.cat([norm, -self.z @ OCCUPIED.to(self.x) + self.x * (1 - norm)], -1)
        scale = self._frame[1].mT
        return torch.linalg.solve_triangular(scale, lacking[..., None], upper=False)[..., 0]

    def _solve_scale(self, right: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self._frame[1], right, upper=True)

    def _turned_back(self, held: Tensor, push: Tensor) -> Tensor:
        """The v of given first five components whose others give way to the push."""
        free = -torch.cholesky_solve(push[..., None], self._factor)[..., 0]
        return (self._frame[0] @ torch.cat([held, free], -1)[..., None])[..., 0]


def follow(
    x: Float[Tensor, "sample 4"], interaction: Float[Tensor, " 16"]
) -> tuple[State, Float[Tensor, " sample"]]:
    """The minimum that continues from the random state as the interaction grows from zero.

    Steps adapt for each point. A state that ends on the way, where its ∂²F turns singular, is left
    there.

    Returns:
        The states, and how much of the interaction each was followed to: 1 for those that converged
        to `CONVERGED`.
    """
    occupied = OCCUPIED.to(x).bool()
    log_z = torch.where(occupied, x[:, None].log(), (-x[:, None]).log1p()).sum(-1)
    reached = torch.zeros_like(x[:, 0])
    step = torch.full_like(reached, FIRST_STEP)
    on_the_way = torch.arange(len(x), device=x.device)
    while len(on_the_way):
        i = on_the_way
        goal = (reached[i] + step[i]).clamp_max(1)
        trial, arrived = _advance(x[i], log_z[i], reached[i], goal, interaction)
        log_z[i[arrived]] = trial[arrived]
        reached[i[arrived]] = goal[arrived]
        step[i] *= torch.where(arrived, 2.0, 0.5)
        on_the_way = i[(reached[i] < 1) & (step[i] >= LEAST_STEP)]
    return State(x, log_z, interaction.expand(len(x), 16)), reached


def _advance(
    x: Tensor, log_z: Tensor, start: Tensor, goal: Tensor, interaction: Tensor
) -> tuple[Tensor, Tensor]:
    """The ln z of the state after one step in the interaction, and whether it was found."""
    before = State(x, log_z, start[:, None] * interaction)
    log_z = before.moved(before.response((goal - start)[:, None] * interaction))
    tolerance = torch.where(goal == 1, CONVERGED, ON_THE_WAY)
    sound = log_z.isfinite().all(-1)
    arrived = torch.zeros_like(sound)
    for _ in range(NEWTON_STEPS):
        state = State(x, log_z, goal[:, None] * interaction)
        v = state.correction()
        sound = sound & state.stable & (v.norm(dim=-1) < REACH)
        arrived = sound & (state.residual < tolerance)
        wanting = sound & ~arrived
        if not wanting.any():
            break
        log_z = torch.where(wanting[:, None], state.moved(v), log_z)
    return log_z, arrived
