"""Runs of every kind that a TOML file can ask for, begun, stopped and resumed."""

import numpy as np
import pytest
import torch

from phasefield.adaptive import StepTooSmall
from phasefield.checkpoints import read_checkpoint
from phasefield.files import open_history, open_trajectory
from phasefield.runs import execute, prepare
from phasefield.settings import read_settings
from phasefield.stiffness import GIGAPASCAL

FORMULA = """
seed = 5
output = "run"
[grid]
shape = [16, 12]
spacing = 1.0
{grid}
[energy]
kind = "formula"
formula = "h*(c - 0.3)**2*(0.7 - c)**2"
constants = {{ h = 5.0 }}
[composition]
mean = 0.5
noise = 0.01
mobility = 5.0
kappa = 2.0
{tables}
[time]
end = 40.0
frames = 4
{time}
[phases]
threshold = 0.5
"""
ELASTICITY = """[elasticity]
share = "(c - 0.3) / 0.4"
misfit = [0.01, 0.01, 0.0]
stiffness = [25.0, 15.0, 10.0]
mean_strain = { zz = 0.0 }
mean_stress = { xx = 0.1 }
"""
KINDS = {
    "no-flux": {"grid": 'boundaries = ["no-flux", "no-flux"]'},
    "mixed": {"grid": 'boundaries = ["periodic", "no-flux"]', "time": 'integrator = "sbdf2"'},
    "fine": {"grid": 'boundaries = ["no-flux", "periodic"]\ndealias = "exact"'},
    "single": {"grid": 'precision = "single"'},
    "fixed": {"time": 'integrator = "etdrk2"\nfixed_step = 0.05'},
    "explicit": {"time": "large_steps = false\nlargest_step = 0.5"},
    "strained": {"tables": ELASTICITY},
    "softer": {"tables": f"{ELASTICITY}other_stiffness = [20.0, 14.0, 8.0]\n"},
    "thermal": {
        "time": 'integrator = "exponential_euler"\nfixed_step = 0.1',
        "tables": "[noise]\ntemperature = 300.0\nextent = 5.0",
    },
}


@pytest.fixture
def settings(tmp_path):
    def make(name, **parts):
        text = FORMULA.format(**({"grid": "", "time": "", "tables": ""} | parts))
        path = tmp_path / f"{name}.toml"
        path.write_text(text.replace('"run"', f'"{name}"'))
        return read_settings(path)

    return make


class Stopped(Exception):
    """As by a signal."""


def states_of(whole, parted):
    """Where a finished run ended, and another that is stopped at t = 25 and taken up again."""

    def stop(now):
        if now.time > 25.0:
            raise Stopped

    with pytest.raises(Stopped):
        execute(parted, [stop])
    execute(parted)
    cpu = torch.device("cpu")
    return [read_checkpoint(settings.output, cpu).state for settings in (whole, parted)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_keeps_its_mass_and_resumes_to_the_same_bits(kind, settings):
    whole, parted = settings("whole", **KINDS[kind]), settings("parted", **KINDS[kind])
    summary = execute(whole)
    assert summary["time"] == 40.0
    assert summary["mass_drift"] < (1e-5 if kind == "single" else 1e-13)
    assert summary["energy_never_rose"] or kind == "thermal"

    one, other = states_of(whole, parted)
    assert torch.equal(one.u_hat, other.u_hat)
    assert one.steps == other.steps
    steps = [np.diff(open_history(s.output)["time"]) for s in (whole, parted)]
    assert np.array_equal(*steps)
    if kind == "explicit":
        assert steps[0].max() <= 0.5


def test_a_formula_of_four_fields_is_one_of_ordered_fcc(settings, tmp_path):
    path = tmp_path / "four.toml"
    text = FORMULA.format(grid="", time="", tables="[order]\nkappa = 1.0\nnoise = 0.001")
    text = text.replace("(0.7 - c)**2", "(0.7 - c)**2 + eta1**2 + eta2**2 + eta3**2")
    path.write_text(text.replace("mean = 0.5", "mean = 0.2"))
    run = prepare(read_settings(path))
    assert run.names == ["c", "eta1", "eta2", "eta3"]
    assert run.phases.labels[1] == "γ′ 1"


def test_the_number_of_points_reaches_the_energy_that_must_suit_it(settings):
    u_hat = prepare(settings("cells")).model.grid.transform(torch.rand(1, 16, 12).double())

    def bulk(name, value):
        model = prepare(settings(name, grid=f"dealias = {value}")).model
        return model.energy(u_hat, model.evaluate(u_hat)).bulk

    assert bulk("exact", '"exact"') == bulk("two", 2)
    assert bulk("two", 2) != pytest.approx(bulk("one", 1.0), rel=1e-3)
    made = settings("tanh", grid='dealias = "exact"')
    energy = made.energy.model_copy(update={"formula": "h*tanh(c)**2"})
    with pytest.raises(ValueError, match='`dealias` may be "exact" where f is a formula of sums'):
        prepare(made.model_copy(update={"energy": energy}))


def test_a_run_at_rest_ends_before_its_time(settings):
    rest = settings("rest", time="steady = 1e-6").model_copy()
    time = rest.time.model_copy(update={"end": 1e7, "frames": 2})
    summary = execute(rest.model_copy(update={"time": time}))
    assert summary["time"] < 1e6
    again = execute(rest.model_copy(update={"time": time}))
    assert again["time"] == summary["time"]
    assert again["steps"] == summary["steps"]


NUCLEI = """
[[nucleus]]
centre = [4.0, 6.0]
radius = 3.0
values = [0.68]
time = 7.5
[[nucleus]]
centre = [12.0, 6.0]
radius = 3.0
values = [0.68]
time = 22.0
"""


def test_nuclei_are_put_in_at_their_times_also_after_a_stop(settings):
    """Between 7.5 and 22 there is one: by the mean of the right half."""
    quiet = {"tables": NUCLEI}
    whole, parted = settings("whole", **quiet), settings("parted", **quiet)
    for each in (whole, parted):
        object.__setattr__(each.composition, "noise", 0.0)
        object.__setattr__(each.composition, "mean", 0.32)
    summary = execute(whole)
    assert summary["mass_drift"] < 1e-13
    frames = open_trajectory(whole.output)
    times = frames["time"].to_numpy().tolist()
    assert times == [0.0, 7.5, 10.0, 20.0, 22.0, 30.0, 40.0]
    right = frames["c"][:, 8:].to_numpy().max(axis=(1, 2))
    left = frames["c"][:, :8].to_numpy().max(axis=(1, 2))
    assert left[0] < 0.35
    assert left[1] > 0.6
    assert right[3] < 0.5
    assert right[4] > 0.6

    one, other = states_of(whole, parted)
    assert torch.equal(one.u_hat, other.u_hat)


def test_a_nucleus_after_the_end_is_refused(settings):
    with pytest.raises(ValueError, match=r"`nucleus.time` must not be after `time.end`"):
        settings("late", tables=NUCLEI.replace("22.0", "41.0"))


def test_a_run_that_blows_up_says_where_it_stood_and_keeps_its_last_frame(settings):
    wild = settings("wild", time='integrator = "sbdf2"\nfixed_step = 2.0')
    object.__setattr__(wild.energy, "formula", "1000*(c - 0.3)**2*(0.7 - c)**2*(1 + c**8)")
    object.__setattr__(wild.energy, "constants", {})
    with pytest.raises(StepTooSmall, match=r"c from 0\.\d+ to 0\.\d+.* is kept in .*wild"):
        execute(wild)
    assert read_checkpoint(wild.output, torch.device("cpu")) is not None


def test_fields_outside_the_domain_of_the_energy_are_refused_with_their_range(settings):
    outside = settings("outside")
    object.__setattr__(outside.energy, "formula", "h*(c*log(c) + (1 - c)*log(1 - c))")
    object.__setattr__(outside.composition, "mean", 0.01)
    object.__setattr__(outside.composition, "noise", 0.1)
    with pytest.raises(ValueError, match=r"outside the domain of the energy.*: c from -0\.\d+ to"):
        execute(outside)


def test_elasticity_reaches_the_model(settings):
    one, other = (prepare(settings(kind, **KINDS[kind])).model for kind in ("strained", "softer"))
    u = torch.full((1, 16, 12), 0.7, dtype=torch.float64)
    # θ = 1 everywhere: σ is what is applied, and ε_zz = 0 = ε⁰_zz.
    assert one.elastic.stress(u)[:, 0, 0].tolist() == pytest.approx(
        [GIGAPASCAL * 0.1, 0, GIGAPASCAL * 0.1 * 15 / 40, 0, 0, 0], abs=1e-12
    )
    assert other.elastic.contrasts[0].change[3, 3] == pytest.approx(-2 * GIGAPASCAL)
    assert one.evaluate(one.grid.transform(u)).elastic < 0


@pytest.mark.parametrize(("old", "new", "message"), [
    ("25.0, 15.0", "25.0, 25.0", "C₁₁ > "), ("[0.01, 0.01, 0.0]", "0.2", "of at most 0.05"),
    ("(c - 0.3)", "(d - 0.3)", r"may use \['c'\]; it uses 'd'"), ("zz", "zx", "may have xx"),
])  # fmt: skip
def test_bad_elasticity_is_named(old, new, message, settings):
    with pytest.raises(ValueError, match=message):
        prepare(settings("bad", tables=ELASTICITY.replace(old, new)))


def test_elasticity_needs_a_periodic_box(settings):
    walls = {"grid": 'boundaries = ["no-flux", "periodic"]'}
    with pytest.raises(ValueError, match="`grid` must be periodic for elasticity"):
        prepare(settings("walls", tables=ELASTICITY, **walls))
