"""Runs whose free energy is a phase of a CALPHAD database, from TOML to rest; bad requests."""

import json
import re
import shutil

import pytest
import torch
from references import sobol_states

from phasefield.__main__ import main
from phasefield.calphad import OrderedFcc, default_database
from phasefield.checkpoints import read_checkpoint
from phasefield.files import open_trajectory
from phasefield.run_directory import read_run_settings
from phasefield.runs import execute, prepare
from phasefield.settings import read_settings

ORDERED = """
seed = 5
output = "run"
[grid]
shape = [16, 12]
spacing = 0.5
[energy]
kind = "calphad"
elements = ["Ni", "Al"]
temperature = 1200
[composition]
mean = 0.17
noise = 0.005
kappa = 0.05
[order]
noise = 0.005
kappa = 0.05
[[nucleus]]
centre = [4.0, 3.0]
radius = 2.0
values = [0.23, 0.2, 0.2, 0.2]
[time]
end = 0.5
frames = 2
first_step = 1e-2
[phases]
threshold = 0.1
"""
SOLUTION = """
seed = 5
output = "run"
[grid]
shape = [64]
spacing = 0.5
boundaries = ["no-flux"]
[energy]
kind = "calphad"
database = "alzn.tdb"
elements = ["Al", "Zn"]
phase = "fcc_a1"
temperature = 550.0
[composition]
mean = 0.35
kappa = 0.05
[[nucleus]]
centre = [0.0]
radius = 14.0
values = [0.5]
[time]
end = 1e6
frames = 2
steady = 1e-8
[phases]
threshold = 0.4
"""
BINODAL = [0.14075603, 0.59106467]
"""x_Zn of `pycalphad.equilibrium` 0.11.2 on the same database at 550 K, FCC_A1 alone."""


@pytest.fixture
def place(tmp_path):
    shutil.copy(default_database().with_name("alzn_mey.tdb"), tmp_path / "alzn.tdb")
    return tmp_path


def written(place, text):
    path = place / "run.toml"
    path.write_text(text)
    return path


def edited(place, pattern, replacement):
    """Dupin's database with one passage changed, as `edited.tdb`."""
    text, count = re.subn(pattern, replacement, default_database().read_text(encoding="utf-8"))
    assert count == 1
    (place / "edited.tdb").write_text(text, encoding="utf-8")


def test_without_a_database_the_energy_is_that_of_dupin_and_its_domain_that_of_fcc(place):
    run = prepare(read_settings(written(place, ORDERED)))
    f = OrderedFcc.from_database(default_database(), ("NI", "AL")).at(1200.0, floor=1e-3)
    eta = torch.cat([sobol_states(50, seed=3), torch.tensor([[5e-4, 0.0, 0.0, 0.0]]).double()])
    torch.testing.assert_close(run.model.f(eta), f(eta), rtol=0, atol=0)
    assert run.names == ["c", "eta1", "eta2", "eta3"]
    assert run.phases.labels[1] == "γ′ 1"


def test_the_second_element_is_the_one_whose_fraction_is_the_composition(place):
    elements = 'elements = ["Ni", "Al"]'
    exchanged = ORDERED.replace(elements, 'elements = ["al", "ni"]\nphase = "fcc_l12"')
    eta = torch.tensor([[0.22, 0.18, -0.15, 0.1]], dtype=torch.float64)
    mirrored = eta * torch.tensor([-1.0, -1.0, -1.0, -1.0]) + torch.tensor([1.0, 0.0, 0.0, 0.0])
    f = prepare(read_settings(written(place, ORDERED))).model.f
    other = prepare(
        read_settings(written(place, exchanged.replace("mean = 0.17", "mean = 0.83").replace(
            "[0.23, 0.2, 0.2, 0.2]", "[0.77, -0.2, -0.2, -0.2]"
        )))
    ).model.f  # fmt: skip
    torch.testing.assert_close(other(mirrored), f(eta), rtol=0, atol=1e-14)
    assert abs(float(other(eta) - f(eta))) > 1e-2


def test_a_solution_comes_to_rest_at_the_ends_that_pycalphad_finds(place):
    summary = execute(read_settings(written(place, SOLUTION)))
    assert summary["time"] < 1e6
    assert summary["energy_never_rose"]
    assert summary["mass_drift"] < 1e-13
    c = open_trajectory(place / "run")["c"][-1].to_numpy()
    # What is left of the interface's tail 14 nm away, and pycalphad's tolerance.
    assert [c[-1], c[0]] == pytest.approx(BINODAL, abs=1e-4)


class Stopped(Exception):
    """As by a signal."""


def stop(now):
    if now.time > 0.3:
        raise Stopped


def test_a_run_resumes_to_the_same_bits_wherever_its_database_lies_by_then(place):
    shutil.copy(default_database(), place / "own.tdb")
    named = ORDERED.replace('"calphad"', '"calphad"\ndatabase = "own.tdb"')
    whole = read_settings(written(place, ORDERED), output=place / "whole")
    parted = read_settings(written(place, named), output=place / "parted")
    summary = execute(whole)
    assert summary["variants"] >= 1
    with pytest.raises(Stopped):
        execute(parted, [stop])
    (place / "own.tdb").rename(place / "moved.tdb")
    moved = read_settings(written(place, named.replace("own", "moved")), output=place / "parted")
    execute(moved)
    cpu = torch.device("cpu")
    one, other = (read_checkpoint(each.output, cpu) for each in (whole, parted))
    assert one is not None
    assert other is not None
    assert torch.equal(one.state.u_hat, other.state.u_hat)
    assert read_run_settings(whole.output) == read_run_settings(parted.output)
    assert str(place) not in json.dumps(read_run_settings(parted.output))


def test_a_run_is_not_continued_with_another_database(place):
    edited(place, r"PARAMETER G\(FCC_L12,AL:AL:VA;0\)", r"$ a remark\n \g<0>")
    with pytest.raises(Stopped):
        execute(read_settings(written(place, ORDERED)), [stop])
    other = ORDERED.replace('"calphad"', '"calphad"\ndatabase = "edited.tdb"')
    with pytest.raises(ValueError, match=r"`energy\.database_sha256` is '[0-9a-f]{64}', but"):
        execute(read_settings(written(place, other)))


@pytest.mark.parametrize(("text", "old", "new", "message"), [
    (SOLUTION, "alzn.tdb", "none.tdb", "`path` must be a database; there is no file"),
    (SOLUTION, "alzn.tdb", "run.toml", "run.toml cannot be read as one: Invalid TDB syntax. SEED"),
    (SOLUTION, 'phase = "fcc_a1"', 'phase = "bcc_a2"', "`path` must hold the phase BCC_A2; alzn.t"),
    (SOLUTION, '"Zn"', '"Cu"', "`elements` must be different ones that FCC_A1 has, AL, ZN; they a"),
    (SOLUTION, "550.0", "200.0", "at 200 K it does not: it is known for"),
    (SOLUTION, "mean = 0.35", "mean = 0.15", "every sublattice fraction in [0, 1]: "),
    (SOLUTION, "mean = 0.35", "mean = 0.85", "every sublattice fraction in [0, 1]: "),
    (SOLUTION, "[composition]", "[order]", "FCC_A1 has c alone: give [composition] and no [order]"),
    (SOLUTION, "[phases]", "[order]\nkappa = 1.0\n[phases]", "FCC_A1 has c alone: give [composi"),
    (SOLUTION, "elements", "element", "`energy.element` is not a known key; did you mean `eleme"),
    (SOLUTION, "spacing = 0.5", 'spacing = 0.5\ndealias = "exact"', '`dealias` may be "exact" whe'),
    (ORDERED, '"Al"', '"Cu"', "`elements` must be two of those that FCC_A1 has on all of its"),
    (ORDERED, "1200", "6000", "at 6000 K it does not: it is known for"),
    (ORDERED, "1200", "nan", "`energy.temperature`: "),
    (ORDERED, "1200", "1200\nfloor = 0.5", "`energy.floor`: input should be less than 0.5; it is"),
    (ORDERED, "mean = 0.17", "mean = 0.01", "`initial` must keep every sublattice fraction in [0,"),
    (ORDERED, "[order]\nnoise = 0.005\nkappa = 0.05\n", "", "FCC_L12 has c and η: give both [comp"),
    (ORDERED, '"Al"]', '"Al"]\ndatabase = "alzn.tdb"', "`path` must hold the phase FCC_L12; alzn."),
    (
        ORDERED, '"Al"]', f'"Al"]\ndatabase = "{default_database().with_name("alnifcc4sl.tdb")}"',
        "50 are absent or differ: G(FCC_L12,AL:NI:AL:NI:VA;0) is absent",
    ),
    (
        SOLUTION, '"alzn.tdb"\nelements = ["Al", "Zn"]\nphase = "fcc_a1"',
        f'"{default_database()}"\nelements = ["Ni", "Al"]\nphase = "BCC_A2"',
        "BCC_A2 has NI,VA,AL : VA.",
    ),
    (
        SOLUTION, '"alzn.tdb"\nelements = ["Al", "Zn"]',
        f'"{default_database().with_name("cfe_broshe.tdb")}"\nelements = ["Fe", "C"]',
        "FCC_A1 has FE : VA,C.",
    ),
])  # fmt: skip
def test_a_bad_request_ends_with_one_message_and_status_2(text, old, new, message, place, capsys):
    assert old in text
    assert main([str(written(place, text.replace(old, new, 1))), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (place / "run" / "settings.json").exists()
