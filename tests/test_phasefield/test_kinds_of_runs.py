"""Runs of every kind that a TOML file can ask for, begun, stopped and resumed."""

import numpy as np
import pytest
import torch

from phasefield.checkpoints import read_checkpoint
from phasefield.files import open_history
from phasefield.runs import execute, prepare
from phasefield.settings import read_settings

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
KINDS = {
    "no-flux": {"grid": 'boundaries = ["no-flux", "no-flux"]'},
    "mixed": {"grid": 'boundaries = ["periodic", "no-flux"]', "time": 'integrator = "sbdf2"'},
    "single": {"grid": 'precision = "single"'},
    "fixed": {"time": 'integrator = "etdrk2"\nfixed_step = 0.05'},
    "explicit": {"time": "large_steps = false\nlargest_step = 0.5"},
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_any_kind_keeps_its_mass_and_resumes_to_the_same_bits(kind, settings):
    whole, parted = settings("whole", **KINDS[kind]), settings("parted", **KINDS[kind])
    summary = execute(whole)
    assert summary["time"] == 40.0
    assert summary["mass_drift"] < (1e-5 if kind == "single" else 1e-13)
    assert summary["energy_never_rose"] or kind == "thermal"

    def stop(now):
        if now.time > 25.0:
            raise Stopped

    with pytest.raises(Stopped):
        execute(parted, [stop])
    execute(parted)
    cpu = torch.device("cpu")
    one, other = (read_checkpoint(s.output, cpu).state for s in (whole, parted))
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


def test_a_run_at_rest_ends_before_its_time(settings):
    rest = settings("rest", time="steady = 1e-6").model_copy()
    time = rest.time.model_copy(update={"end": 1e7, "frames": 2})
    summary = execute(rest.model_copy(update={"time": time}))
    assert summary["time"] < 1e6
    again = execute(rest.model_copy(update={"time": time}))
    assert again["time"] == summary["time"]
    assert again["steps"] == summary["steps"]
