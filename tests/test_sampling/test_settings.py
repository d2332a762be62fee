"""Settings of a campaign: what is read, and one clear message for everything that is refused."""

import pytest
from campaigns import SETTINGS

from idnn.order_parameters import FCC_L12
from idnn.settings import BadSettings
from sampling.fit import OUTSIDE_WEIGHTS
from sampling.settings import read_settings


@pytest.fixture
def read(tmp_path):
    def read_changed(old="", new="", **overrides):
        assert old in SETTINGS
        path = tmp_path / "campaign.toml"
        path.write_text(SETTINGS.replace(old, new, 1))
        return read_settings(path, **overrides)

    return read_changed


def test_a_campaign_is_read_with_its_defaults(read):
    settings = read()
    assert settings.ensemble.composition == (0.01, 0.12)
    assert settings.system is FCC_L12
    assert settings.schedule().walkers == 8
    assert settings.schedule().samples == 60
    committee = settings.committee(2)
    assert (committee.members, committee.network.widths, committee.seed) == (3, (8,), 3002)
    assert committee.fit.iterations == 6
    fit = settings.expansion.fit_settings()
    assert fit.cutoffs == ((3.7, 2.7, 2.7),)
    assert fit.outside_weights == OUTSIDE_WEIGHTS


def test_an_integer_may_stand_for_a_real_number(read):
    assert read("temperature = 1000.0", "temperature = 900").ensemble.temperature == 900.0


def test_paths_are_relative_to_the_file(read, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    settings = read('"energies.jsonl"', '"data/e.json"\nliterature = "known.csv"')
    assert settings.directory == tmp_path / "run"
    assert settings.energies.file == tmp_path / "data" / "e.json"
    assert settings.energies.literature == tmp_path / "known.csv"
    assert read('"run"', '"/elsewhere"').directory.as_posix() == "/elsewhere"


def test_overrides_replace_directory_and_workers(read, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = read(directory=tmp_path.relative_to(tmp_path) / "other", workers=7)
    assert settings.directory == tmp_path / "here" / "other"
    assert settings.workers == 7


def test_a_path_may_be_text(read, tmp_path):
    settings = read(directory=tmp_path / "other")
    text = str(tmp_path / "campaign.toml")
    assert read_settings(text, directory=str(tmp_path / "other")) == settings


def test_places_and_processes_are_no_part_of_the_identity(read, tmp_path):
    one = read().identity("abc")
    assert one == read(directory=tmp_path / "other", workers=5).identity("abc")
    assert one["energies"] == {"kind": None, "hash": "abc"}
    assert "directory" not in read().session("abc")
    assert one != read("seed = 3", "seed = 4").identity("abc")
    assert one != read().identity("abd")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Ni–Al, small", "Ni–Al, longer"),
        ("workers = 2", "workers = 3"),
        ("[energies]", '[cluster]\nexecutor = "dask"\n[energies]'),
        ("\nrounds = 2", "\nrounds = 5"),
        ("least_rounds = 2", "least_rounds = 1"),
        ("least_rounds = 2", "least_rounds = 2\ntolerance_mu = 0.001"),
        ("least_rounds = 2", "least_rounds = 2\ntolerance_composition = 0.001"),
    ],
)
def test_what_only_says_how_long_to_go_on_is_no_part_of_the_identity(read, old, new):
    assert read(old, new).identity("abc") == read().identity("abc")
    assert read(old, new).session("abc") != read().session("abc")


# Each message names the key, the rule, the value and, where it is not the rule, the remedy.
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sweeps", "sweep", "`monte_carlo.sweep` is not a known key; did you mean `sweeps`?"),
        ("[network]", "[netwrok]", "`netwrok` is not a known key; did you mean `network`?"),
        ("seed = 3\n", "", "`seed` is missing; add it"),
        ("seed = 3", "seed = -1", "`seed`: input should be greater than or equal to 0; it is -1"),
        ("seed = 3", "seed = 3.5", "`seed`: input should be a valid integer; it is 3.5"),
        ("seed = 3", 'seed = "3"', "`seed`: input should be a valid integer; it is '3'"),
        ("= 1000.0", "= true", "`ensemble.temperature`: input should be a valid number; it is T"),
        ("= 1000.0", '= "hot"', "temperature`: input should be a valid number; it is 'hot'"),
        ("= 1000.0", "= -5.0", "temperature`: input should be greater than 0; it is -5.0"),
        ("= 1000.0", "= nan", "temperature`: input should be a finite number; it is nan"),
        ("0.12]", "1.2]", "composition.1`: input should be less than or equal to 1; it is 1.2"),
        ("[0.01,", "[-0.1,", "composition.0`: input should be greater than or equal to 0; it is -"),
        ("[0.01,", "[nan,", "composition.0`: input should be less than or equal to 1; it is nan"),
        (
            "[0.01, 0.12]",
            "[0.3, 0.1]",
            "`ensemble.composition` must rise by at least 0.02; it is [0.3, 0.1]",
        ),
        ("[0.01, 0.12]", "[0.0, 0.004]", "must rise by at least 0.02; it is [0.0, 0.004]"),
        ("[0.01, 0.12]", "[0.1]", "`ensemble.composition.1` is missing; add it"),
        ("3.0, 3.0, 3.0, 3.0", "3.0, 3.0", "`ensemble.stiffness` must hold 4 values"),
        ("3.0, 3.0, 3.0, 3.0", "3, 3, 3, 0", "`ensemble.stiffness.3`: input should be greater"),
        (
            "cells",
            'system = "L21"\ncells',
            "`ensemble.system` must be one of ['bcc-B2', 'bcc-D03', 'fcc-L12']; it is 'L21'",
        ),
        ("cells = [3]", "cells = [0]", "`ensemble.cells.0`: input should be greater than or equal"),
        ("cells = [3]", "cells = []", "`ensemble.cells`: list should have at least 1 item"),
        ("cells = [3]", "cells = [4, 3]", "`ensemble.cells` must ascend; it is [4, 3]"),
        ("cells = [3]", "cells = [3, 3]", "`ensemble.cells` must ascend; it is [3, 3]"),
        ("cells = [3]", "cells = 3", "`ensemble.cells`: input should be a list; it is 3"),
        ("least_rounds = 2", "least_rounds = 9", "must not exceed `rounds`; they are 9 and 2"),
        ("batch = 12", "batch = 5000", "`active_learning.batch`: input should be less than or eq"),
        ("sweeps = 120", "sweeps = 3", "at least two records of `stride` 2; it is 3"),
        ("walkers = 8", "walkers = 1", "`monte_carlo.walkers`: input should be greater than or"),
        ("widths", 'activation = "relu"\nwidths', "'squareplus']; it is 'relu'"),
        ("widths = [8]", "widths = []", "`network.widths`: list should have at least 1 item"),
        ("[[3.7, 2.7, 2.7]]", "[[]]", "`expansion.cutoffs.0`: list should have at least 1 item"),
        ('"Al"]', '"Aluminium"]', "symbols of elements, such as Ni; ['Aluminium'] are not"),
        ('"Al"]', '"Ni"]', "`expansion.species` must be two different ones; it is ['Ni', 'Ni']"),
        ("workers = 2", "workers = 0", "`workers`: input should be greater than or equal to 1"),
        ("seed = 3", "seed = ", "is not valid TOML: Invalid value (at line 3, column 8)"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_one_line(read, tmp_path, old, new, message):
    with pytest.raises(BadSettings) as refusal:
        read(old, new)
    assert message in str(refusal.value)
    assert str(refusal.value).startswith(str(tmp_path / "campaign.toml"))
    assert "\n" not in str(refusal.value)


def test_every_mistake_is_named_at_once(read):
    worse = SETTINGS.replace("seed = 3", "seed = -1").replace("cells = [3]", "cells = [0]")
    with pytest.raises(BadSettings, match=r"`seed`.*; `ensemble\.cells`"):
        read(SETTINGS, worse)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no settings file .*absent\.toml"):
        read_settings(tmp_path / "absent.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "campaign.toml"
    path.write_bytes(b"\xff\xfe\x00title")
    with pytest.raises(BadSettings, match="is not valid TOML"):
        read_settings(path)
