"""The command line: help, bad input, progress, what it prints."""

import argparse
import shutil

import campaigns
import pytest

from sampling import __main__ as command_line
from sampling.__main__ import main


@pytest.fixture
def settings(tmp_path):
    return campaigns.write_settings(tmp_path / "campaign")


@pytest.mark.parametrize("words", [[], ["report"]])
def test_help_names_every_option(words, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    build = command_line._report_parser if words else command_line._run_parser
    parser: argparse.ArgumentParser = build()
    for action in parser._actions:
        assert action.help
        assert " ".join(action.help.split()) in shown
        for name in action.option_strings or [action.metavar]:
            assert str(name) in shown
    assert str(parser.description) in shown
    if not words:
        assert "python -m sampling report" in shown


@pytest.mark.parametrize(
    "words", [[], ["report"], ["c.toml", "--wrkers", "2"], ["c.toml", "--workers", "two"]]
)
def test_wrong_usage_ends_with_status_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: python -m sampling" in capsys.readouterr().err


def refused(words, capsys):
    """The one line on stderr."""
    assert main([*map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_bad_settings_end_with_one_line(settings, capsys):
    settings.write_text(settings.read_text().replace("sweeps = 120", "sweps = 120"))
    assert "did you mean `sweeps`?" in refused([settings], capsys)
    assert "no settings file" in refused([settings.parent / "absent.toml"], capsys)
    assert not (settings.parent / "run").exists()


def test_overrides_are_checked_like_settings(settings, capsys):
    assert "`workers`: input should be greater" in refused([settings, "--workers", "0"], capsys)


def test_energies_that_are_not_numbers_end_with_one_line(settings, capsys):
    energies = settings.parent / "energies.jsonl"
    text = energies.read_text()
    assert text.count('"energy": -4.450000013,') == 1
    energies.write_text(text.replace('"energy": -4.450000013,', '"energy": NaN,'))
    error = refused([settings, "--quiet"], capsys)
    assert "`energy` must be finite" in error
    assert "line 2, id 1_000 has nan" in error
    assert main([str(settings), "--quiet", "--debug"]) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert error.splitlines()[-1].startswith("error: `energy` must be finite")
    assert not (settings.parent / "run" / "campaign.sqlite").exists()


def test_missing_energies_are_named_by_their_key(settings, capsys):
    (settings.parent / "energies.jsonl").unlink()
    assert "`energies.file`: there is no " in refused([settings, "--quiet"], capsys)


def test_missing_literature_is_named_before_anything_is_fitted(settings, capsys):
    text = settings.read_text()
    settings.write_text(text.replace("[expansion]", 'literature = "absent.csv"\n[expansion]'))
    assert "`energies.literature`: there is no " in refused([settings, "--quiet"], capsys)
    assert not (settings.parent / "run" / "campaign.sqlite").exists()


def test_a_directory_that_is_a_file_is_refused(settings, capsys):
    (settings.parent / "run").write_text("in the way")
    assert "`directory`: cannot write to " in refused([settings, "--quiet"], capsys)


def test_a_box_too_small_is_refused_before_anything_is_stored(settings, capsys):
    text = settings.read_text().replace("cells = [3]", "cells = [1]")
    settings.write_text(text.replace("[[3.7, 2.7, 2.7]]", "[[2.7], [2.7, 3.7]]"))
    error = refused([settings, "--quiet"], capsys)
    assert "`ensemble.cells` must begin with 2 or more for the clusters of" in error
    assert "`expansion.cutoffs` [2.7, 3.7]; it is 1" in error
    assert not (settings.parent / "run" / "campaign.sqlite").exists()


def test_cutoffs_below_the_nearest_distance_are_refused(settings, capsys):
    settings.write_text(settings.read_text().replace("[[3.7, 2.7, 2.7]]", "[[0.37]]"))
    error = refused([settings, "--quiet"], capsys)
    assert "`expansion.cutoffs` [0.37] (Å) holds no pair: neighbours are 2.52 Å apart" in error


def test_a_stopped_session_says_how_to_go_on(settings, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "run_campaign", interrupt)
    assert main([str(settings), "--quiet"]) == 130
    assert capsys.readouterr().err == "stopped; the same command continues\n"


def test_a_finished_campaign_is_summarised(settings, finished, capsys):
    shutil.copytree(finished, settings.parent / "elsewhere")
    assert main([str(settings), "--directory", str(settings.parent / "elsewhere")]) == 0
    printed = capsys.readouterr().out
    assert "Ni–Al, small: results in" in printed
    assert "29 structures" in printed
    assert "36 points in 2 rounds; stopped by budget" in printed
    assert "no tie-line found in the range of composition" in printed
    assert str(settings.parent / "elsewhere" / "model.safetensors") in printed
