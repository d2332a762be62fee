"""The settings of a run as a TOML file states them; unknown keys are refused."""

import os
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StringConstraints, field_validator, model_validator

from idnn.settings import BadSettings, Table, read_table, validate

# Strict: TOML has types, so `true` is not 1 and "3" is not 3; an integer still is a float.
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]


class GridSettings(Table):
    """[grid]: number of cells along each axis and their edge."""

    shape: Annotated[
        tuple[Annotated[int, Field(ge=4, strict=True)], ...], Field(min_length=1, max_length=3)
    ]
    spacing: Positive
    """nm."""
    boundaries: tuple[Literal["periodic", "no-flux"], ...] | None = None
    """Of each axis; not given: all periodic."""
    precision: Literal["double", "single"] = "double"
    """Of the fields."""
    dealias: float | Literal["exact"] = 1.0
    """Points per cell and axis at which the energy is evaluated; 1: on the cells, where products of
    fields alias. "exact": as many as leave no alias, half the degree of a polynomial, as 2 of a
    double well; for an energy that is no polynomial give a number."""

    @field_validator("dealias", mode="plain")
    @classmethod
    def _at_least_one(cls, value: Any) -> Any:  # noqa: ANN401
        if type(value) in (int, float) and 1 <= value < inf:
            return float(value)
        if value != "exact":
            raise ValueError('must be a finite number of at least 1 or "exact"')
        return value

    @model_validator(mode="after")
    def _each_axis(self) -> "GridSettings":
        if self.boundaries is not None and len(self.boundaries) != len(self.shape):
            raise ValueError(
                f"`boundaries` must hold one entry for each of the {len(self.shape)} axes"
            )
        return self


class DoubleWellSettings(Table):
    """[energy] kind = "double_well": ρ(u − low)²(high − u)², eV/site, one field."""

    kind: Literal["double_well"]
    height: Positive
    low: Finite
    high: Finite


class FormulaSettings(Table):
    """[energy] kind = "formula": f of the fields, eV/site, from text."""

    kind: Literal["formula"]
    formula: str
    """Of c (with [composition]), eta (with [order] alone) or c, eta1, eta2, eta3 (with both), the
    constants, numbers, + − * / **, parentheses, log, exp, sqrt, tanh, cos, sin."""
    constants: Annotated[dict[str, Finite], Field(default_factory=dict)]


class BraggWilliamsSettings(Table):
    """[energy] kind = "bragg_williams": ideal mixing + v_c c² + v_o Σηᵢ² on four sublattices."""

    kind: Literal["bragg_williams"]
    temperature: Positive
    """K."""
    composition_interaction: Finite
    """v_c, eV/site."""
    order_interaction: Finite
    """v_o, eV/site."""
    floor: Annotated[float, Field(gt=0, lt=0.5, strict=True)] = 1e-3
    """Site fraction below which x ln x is continued by its Taylor polynomial."""


class LearnedSettings(Table):
    """[energy] kind = "learned": a network written by a campaign."""

    kind: Literal["learned"]
    model: Path
    """Relative to the TOML file."""
    member: Annotated[int, Field(ge=0, strict=True)] | None = None
    """One network of the committee; not given: their mean, at their joint cost."""
    floor: Annotated[float, Field(gt=0, lt=0.5, strict=True)] = 2e-3
    """Site fraction below which ideal mixing is continued by its Taylor polynomial. It bounds the
    curvature of f, and with it what a time step can be; no less than the model was trained with."""


Name = Annotated[str, StringConstraints(min_length=1, to_upper=True)]
"""Of an element or a phase in a database, which writes them in capitals."""


class CalphadSettings(Table):
    """[energy] kind = "calphad": a phase of two elements from a database."""

    kind: Literal["calphad"]
    database: Path | None = None
    """A TDB file, relative to the TOML file; not given: Al–Ni of Dupin, Ansara & Sundman (2001,
    doi:10.1016/S0364-5916(01)00049-9)."""
    elements: tuple[Name, Name]
    """Solvent and solute; c is the fraction of the second."""
    phase: Name = "FCC_L12"
    """FCC_L12, which orders: of c and η; any other has its atoms on one sublattice: of c alone."""
    temperature: Positive
    """K."""
    floor: Annotated[float, Field(gt=0, lt=0.5, strict=True)] = 1e-3
    """As that of a learned energy. Above the smallest site fraction of a phase it moves that phase:
    γ′ of Ni–Al has 5e-3 at 1200 K, 6e-4 at 1000 K and 4e-5 at 823 K."""

    @property
    def orders(self) -> bool:
        """Whether the phase has order parameters."""
        return self.phase == "FCC_L12"


EnergySettings = (
    DoubleWellSettings | FormulaSettings | BraggWilliamsSettings | LearnedSettings | CalphadSettings
)


class FieldSettings(Table):
    """[composition] (conserved, Cahn–Hilliard) or [order] (not conserved, Allen–Cahn)."""

    mean: Finite = 0.0
    """Initial mean of the field."""
    noise: NotNegative = 0.0
    """Standard deviation of the initial white noise in a cell."""
    mobility: Positive = 1.0
    """M, nm²/(eV/site)/t₀, for [composition]; L, 1/(eV/site)/t₀, for [order]. M = 1 defines t₀."""
    kappa: Positive
    """Gradient coefficient, eV·nm²/site."""


class NucleusSettings(Table):
    """[[nucleus]]: a ball of another phase at a stated place and time."""

    centre: tuple[Finite, ...]
    """nm."""
    radius: Positive
    """nm."""
    values: tuple[Finite, ...]
    """All fields inside."""
    time: NotNegative = 0.0
    """When it is put in, t₀."""
    width: Positive = 1.0
    """Half-width of its interface, nm."""


class NucleiSettings(Table):
    """[nuclei]: balls of L1₂ at random places, the four variants in turn."""

    count: Annotated[int, Field(ge=1, strict=True)]
    radius: Positive
    """nm."""
    composition: Fraction
    """Composition inside."""
    order: Annotated[float, Field(gt=0, le=0.25, strict=True)]
    """|ηᵢ| inside; ¼ is perfect order."""
    width: Positive = 1.0
    """Half-width of their interfaces, nm."""


class TimeSettings(Table):
    """[time]: how far and how accurately, and when to record."""

    end: Positive
    """t₀."""
    frames: Annotated[int, Field(ge=1, strict=True)] = 60
    """Recorded times after t = 0; a stopped run resumes from the last of them."""
    first_frame: Positive | None = None
    """Given: frames at equal ratios of time from here to `end`. Not given: equal intervals."""
    tolerance: Annotated[float, Field(gt=0, le=0.1, strict=True)] = 1e-3
    """Largest estimated error of any field in any cell, per step."""
    first_step: Positive = 1e-3
    """t₀."""
    largest_step: Positive | None = None
    """t₀; not given: as long as the error estimate allows."""
    fixed_step: Positive | None = None
    """t₀; not given: steps follow the error estimate."""
    integrator: Literal["semi_implicit_euler", "sbdf2", "exponential_euler", "etdrk2", "etdrk4"] = (
        "etdrk4"
    )
    large_steps: Annotated[bool, Field(strict=True)] = True
    """Whether implicit steps are tried once explicit ones do not grow any more."""
    steady: NotNegative = 0.0
    """The run ends when no field changes faster than this anywhere, 1/t₀."""

    @model_validator(mode="after")
    def _order(self) -> "TimeSettings":
        if self.first_frame is not None and not self.first_frame < self.end:
            raise ValueError("`first_frame` must be below `end`; give an earlier time")
        return self

    def output_times(self) -> list[float]:
        """The recorded times after 0."""
        if self.first_frame is None:
            times = np.linspace(0, self.end, self.frames + 1)[1:]
        else:
            times = np.geomspace(self.first_frame, self.end, self.frames)
        return [*times[:-1].tolist(), self.end]


class NoiseSettings(Table):
    """[noise]: thermal noise; needs `time.fixed_step` and the integrator exponential_euler."""

    temperature: Positive
    """K."""
    extent: Positive = 1.0
    """Thickness (nm) of a two-dimensional grid, cross-section (nm²) of a one-dimensional one."""


class ElasticitySettings(Table):
    """[elasticity]: a cubic crystal along the axes of a periodic box, with a coherent misfit."""

    share: Annotated[str, Field(min_length=1)]
    """θ, a formula of the fields: how much of the misfit and of the other stiffness there is."""
    misfit: Finite | tuple[Finite, Finite, Finite]
    """Strain-free strain where θ = 1, alike along all axes or along x, y and z."""
    stiffness: tuple[Positive, Positive, Positive]
    """C₁₁, C₁₂ and C₄₄ in GPa."""
    other_stiffness: tuple[Positive, Positive, Positive] | None = None
    """The same where θ = 1; not given: one stiffness."""
    mean_strain: dict[str, Finite] = Field(default_factory=dict)
    """Components of the mean strain that are held (xx, yy, zz, yz, xz, xy). A plane model of a
    thick body holds zz, yz and xz at 0."""
    mean_stress: dict[str, Finite] = Field(default_factory=dict)
    """GPa, of the others; 0 where not given."""
    tolerance: Annotated[float, Field(gt=0, le=0.1, strict=True)] = 1e-5
    """Relative error of strains between phases of two stiffnesses."""


class PhaseSettings(Table):
    """[phases]: when a cell counts as ordered (or high), and a phase as present."""

    threshold: Positive
    """Smallest |ηᵢ| of an ordered cell; of one field: its value above which it is high."""
    smallest_share: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.005
    """Share of the cells a variant must cover to count as present."""


class Settings(Table):
    """Everything a run depends on."""

    seed: Annotated[int, Field(ge=0, strict=True)]
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU if torch sees one."""
    output: Path
    """Directory of the run, relative to the TOML file."""
    grid: GridSettings
    energy: Annotated[EnergySettings, Field(discriminator="kind")]
    site_volume: Positive = 1.0
    """Ω, nm³ per site."""
    composition: FieldSettings | None = None
    order: FieldSettings | None = None
    nucleus: tuple[NucleusSettings, ...] = ()
    nuclei: NucleiSettings | None = None
    noise: NoiseSettings | None = None
    elasticity: ElasticitySettings | None = None
    time: TimeSettings
    phases: PhaseSettings

    @model_validator(mode="after")
    def _fields(self) -> "Settings":
        tables = (self.composition is not None) + (self.order is not None)
        if self.energy.kind == "double_well" and tables != 1:
            raise ValueError("a double_well energy has one field: give [composition] or [order]")
        if self.energy.kind == "formula" and tables == 0:
            raise ValueError("there is no field: give [composition], [order] or both")
        if self.energy.kind in ("bragg_williams", "learned") and tables != 2:
            raise ValueError(
                f"a {self.energy.kind} energy has c and η: give both [composition] and [order]"
            )
        if isinstance(self.energy, CalphadSettings):
            self._require_fields_of(self.energy)
        late = max((nucleus.time for nucleus in self.nucleus), default=0.0)
        if late > self.time.end:
            raise ValueError(f"`nucleus.time` must not be after `time.end`; one is {late:g}")
        if self.nuclei is not None and tables != 2:
            raise ValueError("[nuclei] are L1₂ and need c and η; give [[nucleus]] instead")
        fixed = self.time.fixed_step is not None
        if self.noise and not (fixed and self.time.integrator == "exponential_euler"):
            raise ValueError(
                "[noise] holds for steps of one length alone: give `time.fixed_step` and "
                '`time.integrator` = "exponential_euler"'
            )
        return self

    def _require_fields_of(self, energy: CalphadSettings) -> None:
        if self.composition is None or (self.order is not None) != energy.orders:
            fields = "c and η: give both" if energy.orders else "c alone: give"
            no = "and" if energy.orders else "and no"
            raise ValueError(f"the phase {energy.phase} has {fields} [composition] {no} [order]")


def read_settings(
    path: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
) -> Settings:
    """The settings in the TOML file at `path`, its paths made absolute.

    Args:
        path: a TOML file.
        output: replaces `output`.
        model: replaces `energy.model`.

    Raises:
        FileNotFoundError: there is no file.
        BadSettings: it is not TOML, or a key is unknown, missing or out of range.
    """
    source = Path(path)
    table = read_table(source)
    energy = table.get("energy", {})
    if output is not None:
        table["output"] = str(Path(output).absolute())
    if model is not None:
        if not isinstance(energy, dict) or energy.get("kind") != "learned":
            raise BadSettings(
                f"`--model` replaces `energy.model` of a learned energy; in {source} `energy.kind` "
                f"is {energy.get('kind') if isinstance(energy, dict) else energy!r}."
            )
        energy["model"] = str(Path(model).absolute())
    return _absolute(validate(Settings, table, source), source.absolute().parent)


def _absolute(settings: Settings, base: Path) -> Settings:
    update: dict[str, Any] = {"output": (base / settings.output).resolve()}
    energy = settings.energy
    if isinstance(energy, LearnedSettings):
        update["energy"] = energy.model_copy(update={"model": (base / energy.model).resolve()})
    if isinstance(energy, CalphadSettings) and energy.database is not None:
        path = (base / energy.database).resolve()
        update["energy"] = energy.model_copy(update={"database": path})
    return settings.model_copy(update=update)
