"""The settings of a campaign as a TOML file states them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pymatgen.core import Element

from idnn.activations import ACTIVATIONS
from idnn.ensemble import CommitteeSettings
from idnn.levenberg import LevenbergMarquardt
from idnn.network import NetworkSettings
from idnn.order_parameters import SYSTEMS, System
from idnn.settings import Table, read_table, validate
from sampling.cluster import ClusterTable
from sampling.ensemble import Schedule
from sampling.fit import OUTSIDE_WEIGHTS, FitSettings
from sampling.goals import Scales
from sampling.strategies import GoalOriented, Strategy, most_uncertain, published, uniform

# Strict: TOML has types, so `true` is not 1 and "3" is not 3; an integer still is a float.
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]

NARROWEST = 0.02
"""Range of composition below which there is hardly a state to draw from."""


class EnergyTable(Table):
    """[energies]: first-principles energies, all of one method."""

    file: Path
    """JSON, JSON lines or a folder of structures; relative to the TOML file."""
    kind: str | None = None
    """Which kind of calculation to use, where the file holds several."""
    literature: Path | None = None
    """CSV of published formation enthalpies to compare with; never fitted."""


class ExpansionTable(Table):
    """[expansion]: the parent lattice and what cross-validation chooses from."""

    species: tuple[str, str]
    lattice_parameter: Positive
    """Cubic parameter of the fcc parent lattice, Å."""
    cutoffs: Annotated[
        tuple[Annotated[tuple[Positive, ...], Field(min_length=1)], ...], Field(min_length=1)
    ]
    """Candidates, Å: each one length for pairs, one for triplets, and so on."""
    x_focus: Fraction = 0.4
    """Composition of the second species up to which the expansion must be good."""
    outside_weights: Annotated[tuple[Fraction, ...], Field(min_length=1)] = OUTSIDE_WEIGHTS
    """Candidate weights of structures beyond `x_focus`."""
    hull_scale: Positive = 0.1
    """Energy above the hull (eV/atom) at which a structure's weight is halved."""
    enumerate_up_to: Annotated[int, Field(ge=1, le=12, strict=True)] = 8
    """Ground states are looked for among all orderings of up to so many atoms."""

    @model_validator(mode="after")
    def _consistent(self) -> ExpansionTable:
        unknown = [name for name in self.species if not Element.is_valid_symbol(name)]
        if unknown:
            raise ValueError(
                f"`expansion.species` must be symbols of elements, such as Ni; {unknown} are not"
            )
        if self.species[0] == self.species[1]:
            raise ValueError(
                f"`expansion.species` must be two different ones; it is {list(self.species)}"
            )
        return self

    def fit_settings(self) -> FitSettings:
        """As the fit takes them."""
        return FitSettings(
            cutoffs=self.cutoffs,
            x_focus=self.x_focus,
            outside_weights=self.outside_weights,
            hull_scale=self.hull_scale,
        )


class EnsembleTable(Table):
    """[ensemble]: the state that is sampled."""

    system: str = "fcc-L12"
    temperature: Positive
    """K."""
    composition: tuple[Fraction, Fraction]
    """Range of the second species that the free energy must cover."""
    cells: Annotated[tuple[Count, ...], Field(min_length=1)] = (3, 4, 8)
    """Box edges in ordered cells, ascending: 4 is 256 sites of fcc. A point is sampled in the first
    two, and in a larger one where its state is homogeneous."""
    stiffness: tuple[Positive, ...]
    """φ of the bias per site Σφᵢ(ηᵢ−κᵢ)², eV, one per order parameter."""

    @model_validator(mode="after")
    def _consistent(self) -> EnsembleTable:
        if self.system not in SYSTEMS:
            raise ValueError(
                f"`ensemble.system` must be one of {sorted(SYSTEMS)}; it is {self.system!r}"
            )
        need = SYSTEMS[self.system].dimension
        if len(self.stiffness) != need:
            raise ValueError(
                f"`ensemble.stiffness` must hold {need} values, one per order parameter of "
                f"{self.system}; it holds {len(self.stiffness)}"
            )
        if list(self.cells) != sorted(set(self.cells)):
            raise ValueError(f"`ensemble.cells` must ascend; it is {list(self.cells)}")
        low, high = self.composition
        if not high - low >= NARROWEST:
            raise ValueError(
                f"`ensemble.composition` must rise by at least {NARROWEST}; it is {[low, high]}"
            )
        return self


class MonteCarloTable(Table):
    """[monte_carlo]: how long each point is sampled."""

    walkers: Annotated[int, Field(ge=4, strict=True)] = 16
    """Independent chains per point; 64 run at the price of one, shared between points."""
    sweeps: Count = 2000
    """In the smallest box; a larger one gets as many flips, but no fewer than 400 sweeps."""
    burn_in: Annotated[int, Field(ge=0, strict=True)] = 400
    stride: Count = 2
    """Sweeps per record."""

    @model_validator(mode="after")
    def _consistent(self) -> MonteCarloTable:
        if self.sweeps < 2 * self.stride:
            raise ValueError(
                f"`monte_carlo.sweeps` must hold at least two records of `stride` {self.stride}; "
                f"it is {self.sweeps}"
            )
        return self


class NetworkTable(Table):
    """[network]: the committee."""

    members: Annotated[int, Field(ge=2, strict=True)] = 8
    restarts: Count = 2
    """Random initial weights tried for each member."""
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (16, 16)
    activation: str = "gelu"
    floor: Annotated[float, Field(gt=0, lt=0.5, strict=True)] = 5e-5
    """Site fraction below which the ideal reference is continued quadratically, the least
    that is sampled."""
    iterations: Count = 60
    """Of Levenberg–Marquardt, in every round."""
    discrepancy: NotNegative = 1e-3
    """eV/site, added in quadrature to every σ: what no smooth function can follow."""

    @model_validator(mode="after")
    def _consistent(self) -> NetworkTable:
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"`network.activation` must be one of {sorted(ACTIVATIONS)}; "
                f"it is {self.activation!r}"
            )
        return self


class LearningTable(Table):
    """[active_learning]: the loop and when it stops."""

    first: Count = 256
    """Points of the first round, half of them spread, half along lines to ordered states."""
    batch: Annotated[int, Field(ge=1, le=4096, strict=True)] = 192
    """Points of each later round."""
    rounds: Count = 6
    """Budget, the first included."""
    least_rounds: Count = 4
    """Rounds before the tolerances may end the loop."""
    strategy: Literal["goals", "disagreement", "literature", "uniform"] = "goals"
    """How the points of later rounds are chosen: where they tell most, per cost, of the tie-line,
    of μ and of the barrier; or, for comparison, where members disagree about μ, as in the
    literature, or evenly."""
    scale_composition: Positive = 0.002
    """For `goals`, errors that are equally bad: of an end of the tie-line,"""
    scale_mu_ends: Positive = 0.001
    """of μ about the ends of the tie-line (eV/site),"""
    scale_mu: Positive = 0.012
    """of μ over the range of composition (eV/site), much of which boxes disagree about,"""
    scale_barrier: Positive | None = None
    """and of the barrier between the phases (eV/site); not aimed at if absent."""
    tolerance_composition: Positive = 0.002
    """Stop when both ends of the tie-line have a smaller σ, and"""
    tolerance_mu: Positive = 0.004
    """the committee's calibrated σ of μ (eV/site) is smaller, twice in a row."""

    @model_validator(mode="after")
    def _consistent(self) -> LearningTable:
        if self.least_rounds > self.rounds:
            raise ValueError(
                f"`active_learning.least_rounds` must not exceed `rounds`; "
                f"they are {self.least_rounds} and {self.rounds}"
            )
        return self


class CampaignSettings(Table):
    """Everything a campaign depends on, and where it keeps its results."""

    title: str
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)]
    directory: Path
    """Where the store, models and report go; relative to the TOML file."""
    workers: Count = 2
    """Processes that sample and train; the result does not depend on it."""
    energies: EnergyTable
    expansion: ExpansionTable
    ensemble: EnsembleTable
    monte_carlo: MonteCarloTable = MonteCarloTable()
    network: NetworkTable = NetworkTable()
    active_learning: LearningTable = LearningTable()
    cluster: ClusterTable | None = None
    """Who samples and trains in place of processes of this machine."""

    @property
    def system(self) -> System:
        """The ordering crystal."""
        return SYSTEMS[self.ensemble.system]

    def schedule(self) -> Schedule:
        """As the sampler takes it."""
        return Schedule(**self.monte_carlo.model_dump())

    def committee(self, round_index: int) -> CommitteeSettings:
        """As the training of one round takes it."""
        network = self.network
        return CommitteeSettings(
            members=network.members,
            discrepancy=network.discrepancy,
            network=NetworkSettings(
                widths=network.widths, activation=network.activation, floor=network.floor
            ),
            restarts=network.restarts,
            fit=LevenbergMarquardt(iterations=network.iterations),
            seed=self.seed * 1000 + round_index,
        )

    @property
    def strategy(self) -> Strategy:
        """How the points of later rounds are chosen."""
        learning = self.active_learning
        if learning.strategy == "goals":
            return GoalOriented(
                Scales(
                    composition=learning.scale_composition,
                    mu=learning.scale_mu,
                    mu_ends=learning.scale_mu_ends,
                    barrier=learning.scale_barrier,
                )
            )
        return {
            "disagreement": most_uncertain,
            "literature": published,
            "uniform": uniform,
        }[learning.strategy]

    def session(self, energies_hash: str) -> dict[str, Any]:
        """What is stored with a session: all but the places."""
        return self._recorded(energies_hash, {"directory": True, "cluster": {"scheduler"}})

    def identity(self, energies_hash: str) -> dict[str, Any]:
        """What makes two campaigns the same: everything on which the result of a round depends.

        The rest, `FREE`, may differ from session to session.
        """
        return self._recorded(energies_hash, {"directory": True} | FREE)

    def _recorded(self, energies_hash: str, exclude: dict[str, Any]) -> dict[str, Any]:
        """The settings without some keys, and with the energies' content for their place."""
        settings = self.model_dump(mode="json", exclude=exclude)
        settings["energies"] = {"kind": self.energies.kind, "hash": energies_hash}
        return settings


FREE = {
    "title": True,
    "workers": True,
    "cluster": True,
    "active_learning": {"rounds", "least_rounds", "tolerance_composition", "tolerance_mu"},
}
"""Keys that only say what a campaign is called, how long it goes on and on which processes."""


def read_settings(
    path: str | os.PathLike[str],
    *,
    directory: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> CampaignSettings:
    """The campaign in the TOML file at `path`, its paths made absolute.

    Args:
        path: a TOML file.
        directory: replaces `directory`, relative to the working directory.
        workers: replaces `workers`.

    Raises:
        FileNotFoundError: there is no file.
        BadSettings: it is not TOML, or a key is unknown, missing or out of range.
    """
    source = Path(path)
    table = read_table(source)
    if directory is not None:
        table["directory"] = str(Path(directory).absolute())
    if workers is not None:
        table["workers"] = workers
    settings = validate(CampaignSettings, table, source)
    base = source.absolute().parent
    energies = settings.energies
    literature = energies.literature and base / energies.literature
    return settings.model_copy(
        update={
            "directory": (base / settings.directory).resolve(),
            "energies": energies.model_copy(
                update={"file": (base / energies.file).resolve(), "literature": literature}
            ),
        }
    )
