"""The loop: the same result from any number of workers and after any crash; what it refuses."""

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import campaigns
import numpy as np
import pytest
import torch

from idnn.checkpoint import load, read_header
from idnn.order_parameters import FCC_L12
from sampling.__main__ import main
from sampling.campaign import STORE, NothingSampled, run_campaign
from sampling.energetics import SUMMARY, prepare_expansion, read_campaign_energies
from sampling.judge import Judgement
from sampling.labels import derivatives
from sampling.report import figures_of_merit, gather, write_report
from sampling.settings import NetworkTable, read_settings
from sampling.store import Store


@pytest.fixture
def copy(finished, tmp_path):
    """A finished campaign that may be spoiled, and the settings that made it."""
    path = campaigns.write_settings(tmp_path / "copy")
    shutil.copytree(finished, path.parent / "run")
    return path


def test_every_point_is_proposed_sampled_and_judged(finished):
    store = Store(finished / STORE)
    proposals, labels = store.proposals(), store.labels()
    assert [p.point for p in proposals] == list(range(36)) == list(labels)
    assert [p.round for p in proposals] == [0] * 24 + [1] * 12
    assert {p.reason for p in proposals} == {"spread", "prototypes"}
    rounds = [Judgement.from_stored(content) for content in store.rounds()]
    assert [r.n_points for r in rounds] == [24, 36]
    assert rounds[0].unseen_rmse is None
    assert rounds[1].unseen_rmse is not None
    assert {"expansion", "proposing", "sampling", "training", "equilibrium"} <= set(store.seconds())
    store.close()


def test_labels_obey_the_umbrella_s_own_equation(finished):
    """μ = −2φ(⟨η⟩ − κ), before the correction for the size of the box."""
    store = Store(finished / STORE)
    for proposal in store.proposals():
        label = store.labels()[proposal.point]
        eta, kappa = torch.tensor(label["eta"]), torch.tensor(proposal.kappa)
        torch.testing.assert_close(torch.tensor(label["mu_raw"]), -2 * 3.0 * (eta - kappa))
        assert label["sites"] == 108
        assert label["point_seed"] == proposal.seed
    store.close()


def test_points_are_sampled_where_they_were_aimed(finished):
    """A later round aims with what was learned; the first guess aims less well."""
    store = Store(finished / STORE)
    labels, proposals = store.labels(), store.proposals()
    store.close()
    missed = torch.tensor(
        [[a - b for a, b in zip(labels[p.point]["eta"], p.target, strict=True)] for p in proposals]
    ).norm(dim=-1)
    assert float(missed.max()) < 0.15
    assert float(missed[24:].mean()) < 0.05


def test_the_model_is_the_last_round_s_and_fits_its_points(finished):
    model = finished / "model.safetensors"
    assert model.read_bytes() == (finished / "models" / "round-1.safetensors").read_bytes()
    network, store = load(model), Store(finished / STORE)
    data = derivatives(store.labels().values(), FCC_L12)
    rounds = store.rounds()
    store.close()
    with torch.no_grad():
        data = data.with_floor(NetworkTable().discrepancy)
        weight = data.sigma.square().reciprocal()
        error = (network.gradient(data.eta) - data.mu) @ FCC_L12.directions
        rmse = ((weight * error.square()).sum() / weight.sum()).sqrt()
    assert float(rmse) == pytest.approx(rounds[-1]["train_rmse"], rel=1e-12)
    assert float(rmse) < 0.1 * float(data.mu.std())
    assert network.members == 3


def test_one_worker_gives_what_two_gave_and_a_second_process_is_refused(finished, tmp_path, capsys):
    path = campaigns.write_settings(tmp_path / "one", ("workers = 2", "workers = 1"))
    log = tmp_path / "log"
    process = campaigns.start(path, log=log)
    campaigns.wait_for(lambda: log.exists() or not process.is_alive())
    assert main([str(path), "--quiet"]) == 2
    process.join(300)
    error = capsys.readouterr().err
    assert error.startswith("error: `directory`: ")
    assert "in use by another process" in error
    assert error.count("\n") == 1
    assert process.exitcode == 0
    assert campaigns.content(path.parent / "run") == campaigns.content(finished)


def test_killed_at_random_moments_and_run_again_it_ends_the_same(finished, tmp_path):
    path, log = campaigns.write_settings(tmp_path / "killed"), tmp_path / "log"
    moments = random.Random(5)
    kills = [(0, moments.uniform(0.2, 1.5))]
    kills += [(moments.randint(1, 4), moments.uniform(0, 0.2)) for _ in range(2)]
    killed = watched = 0
    for kill_at, delay in kills:
        log.write_text("")
        process = campaigns.start(path, kill_at=kill_at, delay=delay, log=log)
        process.join(300)
        assert process.exitcode in (0, -signal.SIGKILL)
        killed += process.exitcode != 0
        workers = [int(pid) for pid in log.read_text().split()]
        watched += len(workers)
        campaigns.wait_for(
            lambda pids=workers: not any(map(campaigns.is_running, pids)), seconds=10
        )
    assert killed >= 2
    assert watched > 0
    process = campaigns.start(path)
    process.join(300)
    assert process.exitcode == 0
    assert campaigns.content(path.parent / "run") == campaigns.content(finished)
    leftover = [p.name for p in (path.parent / "run").rglob("*.tmp")]
    assert len(leftover) <= killed


def test_a_stopped_session_keeps_the_seconds_it_spent(tmp_path):
    """Stored with each batch of labels and each member: a kill loses the last instalment alone."""
    path = campaigns.write_settings(tmp_path / "stopped")
    stages, stored = [], []

    def observe(stage, done, total):
        if done:
            store = Store(tmp_path / "stopped" / "run" / STORE)
            stages.append(stage.split(": ")[1])
            stored.append(store.seconds().get(stages[-1], 0.0))
            store.close()
        if stage == "round 1: training" and done == 2:
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_campaign(read_settings(path), observe)
    spent = time.monotonic() - begun
    assert stages == ["sampling"] * 2 + ["training"]
    assert 0 < stored[0] < stored[1]
    assert stored[2] > 0
    store = Store(tmp_path / "stopped" / "run" / STORE)
    assert sum(store.seconds().values()) < spent
    store.close()


def test_damaged_models_are_made_again_the_same(copy, finished):
    models = copy.parent / "run" / "models"
    for name, size in (("round-0.safetensors", 100), ("round-1.safetensors", 1000)):
        os.truncate(models / name, size)
    (copy.parent / "run" / "model.safetensors").unlink()
    run_campaign(read_settings(copy))
    assert campaigns.content(copy.parent / "run") == campaigns.content(finished)


def test_a_finished_campaign_is_not_run_again(copy, finished):
    seen = []
    campaign = run_campaign(read_settings(copy), lambda *report: seen.append(report))
    assert seen == []
    assert campaign.outcome == "budget"
    assert [r.round for r in campaign.rounds] == [0, 1]
    assert read_header(finished / "model.safetensors")["members"] == campaign.network.members
    assert campaigns.content(copy.parent / "run") == campaigns.content(finished)


def test_a_model_of_other_data_is_not_taken_for_the_round_s(copy, finished):
    models = copy.parent / "run" / "models"
    shutil.copy(models / "round-0.safetensors", models / "round-1.safetensors")
    run_campaign(read_settings(copy))
    assert campaigns.content(copy.parent / "run") == campaigns.content(finished)


def judged(finished, folder, *, first_is_known):
    """Settings of a campaign of two finished rounds, the second known to 0.01, and of a budget of
    three; the directory holds the rounds."""
    path = campaigns.write_settings(
        folder, ("rounds = 2", "rounds = 3\ntolerance_composition = 0.05\ntolerance_mu = 0.05")
    )
    shutil.copytree(finished, folder / "run", ignore=shutil.ignore_patterns("campaign*"))
    old = Store(finished / STORE)
    new = Store(folder / "run" / STORE, old.identity())
    new.add_proposals(old.proposals())
    new.add_labels(old.labels())
    known = {"x": (0.1, 0.2), "sigma_x": (0.01, 0.01), "sigma_mu": 0.01, "unseen_rmse": 0.01}
    for content, is_known in zip(old.rounds(), (first_is_known, True), strict=True):
        new.add_round(content["round"], content | known | {"sigma_mu": 0.01 if is_known else 9.0})
    old.close()
    new.close()
    return path


@pytest.mark.parametrize(
    ("first_is_known", "outcome", "count"), [(True, "tolerance", 2), (False, "budget", 3)]
)
def test_tolerances_met_twice_in_a_row_end_the_loop(
    finished, tmp_path, first_is_known, outcome, count
):
    path = judged(finished, tmp_path / "loose", first_is_known=first_is_known)
    campaign = run_campaign(read_settings(path))
    assert (campaign.outcome, len(campaign.rounds)) == (outcome, count)


def run_rounds(folder, rounds, *changes):
    """Content of a campaign of so many short rounds, begun or taken up in `folder`."""
    path = campaigns.write_settings(
        folder,
        *changes,
        ("first = 24", "first = 16"),
        ("batch = 12", "batch = 4"),
        ("\nrounds = 2\nleast_rounds = 2", f"\nrounds = {rounds}\nleast_rounds = {rounds}"),
    )
    run_campaign(read_settings(path))
    return campaigns.content(folder / "run")


def test_four_rounds_extended_to_six_are_six_rounds_run_at_once(tmp_path):
    six = run_rounds(tmp_path / "six", 6)
    four = run_rounds(tmp_path / "extended", 4)
    assert len(four["rounds"]) == len(four["models"]) == 4
    assert run_rounds(tmp_path / "extended", 6) == six
    # A smaller budget takes nothing back.
    assert run_rounds(tmp_path / "extended", 5) == six
    store = Store(tmp_path / "extended" / "run" / STORE)
    budgets = [s.settings["active_learning"]["rounds"] for s in store.sessions()]
    store.close()
    assert budgets == [4, 6, 5]


@pytest.mark.slow
def test_an_extended_campaign_aims_at_the_same_tie_line(tmp_path):
    """With an ordered phase in the range: later points depend on the tie-line last found."""
    ordering = ("temperature = 1000.0", "temperature = 600.0"), ("[0.01, 0.12]", "[0.05, 0.3]")
    four = run_rounds(tmp_path / "four", 4, *ordering)
    assert "tie-line" in {p.reason for p in four["proposals"] if p.round == 3}
    run_rounds(tmp_path / "extended", 3, *ordering)
    assert run_rounds(tmp_path / "extended", 4, *ordering) == four


def test_tightened_tolerances_take_the_loop_up_again(finished, tmp_path):
    path = judged(finished, tmp_path / "loose", first_is_known=True)
    assert run_campaign(read_settings(path)).outcome == "tolerance"
    path.write_text(path.read_text().replace("tolerance_mu = 0.05", "tolerance_mu = 0.005"))
    campaign = run_campaign(read_settings(path))
    assert (campaign.outcome, len(campaign.rounds)) == ("budget", 3)
    path.write_text(path.read_text().replace("tolerance_mu = 0.005", "tolerance_mu = 0.05"))
    assert len(run_campaign(read_settings(path)).rounds) == 3


def test_other_versions_are_named_and_not_refused(copy, finished, caplog):
    store = Store(copy.parent / "run" / STORE)
    (first,) = store.sessions()
    store.add_session(first.settings, first.versions | {"numba": "0.1", "icet": "0.2"})
    store.close()
    run_campaign(read_settings(copy))
    message = f"numba was 0.1, is {first.versions['numba']}): what is computed from here on"
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "sampling.campaign"]
    assert message in warning
    caplog.clear()
    run_campaign(read_settings(copy))
    assert not [r for r in caplog.records if r.name == "sampling.campaign"]
    assert campaigns.content(copy.parent / "run") == campaigns.content(finished)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("temperature = 1000.0", "temperature = 900.0", "ensemble.temperature"),
        ("iterations = 6", "iterations = 7", "network.iterations"),
        ("seed = 3", "seed = 4", "seed"),
    ],
)
def test_a_directory_of_other_settings_is_refused(copy, finished, capsys, old, new, key):
    copy.write_text(copy.read_text().replace(old, new))
    assert main([str(copy), "--quiet"]) == 2
    assert f"error: `{key}`: the store" in capsys.readouterr().err
    assert campaigns.content(copy.parent / "run") == campaigns.content(finished)


def test_a_directory_of_other_energies_is_refused(copy, capsys):
    energies = copy.parent / "energies.jsonl"
    energies.write_text("\n".join(energies.read_text().splitlines()[:-1]) + "\n")
    assert main([str(copy), "--quiet"]) == 2
    assert "error: `energies.hash`: the store" in capsys.readouterr().err


def test_a_point_whose_mu_is_unknown_is_left_out_of_training():
    names = ("eta", "mu", "sublattice_stderr", "size_error")
    known = dict(zip(names, ([0.1] * 4, [0.2] * 4, [0.03] * 4, [0.04] * 4), strict=True))
    unknown = [known | {name: [0.1, None, 0.1, 0.1]} for name in names[1:]]
    data = derivatives([known, *unknown], FCC_L12)
    assert data.eta.tolist() == [[0.1] * 4]
    # What a sample leaves open and what the box does, in quadrature, along sublattice fractions.
    assert data.sigma.tolist() == [[pytest.approx(0.05)] * 4]
    change = FCC_L12.order_parameters(torch.eye(4, dtype=torch.float64)).T
    assert torch.equal(data.directions, change / change.norm(dim=0))


def unknown_from(finished, folder, first):
    """Settings of the finished campaign, its labels from point `first` on without μ, no round."""
    path = campaigns.write_settings(folder)
    shutil.copytree(finished, folder / "run", ignore=shutil.ignore_patterns("campaign*", "models"))
    old = Store(finished / STORE)
    new = Store(folder / "run" / STORE, old.identity())
    new.add_proposals(old.proposals())
    lost = {"mu": [None] * 4, "mu_stderr": [None] * 4}
    new.add_labels({p: c | (lost if p >= first else {}) for p, c in old.labels().items()})
    old.close()
    new.close()
    return path


def test_a_campaign_that_learns_nothing_says_what_to_change(finished, tmp_path, capsys):
    path = unknown_from(finished, tmp_path / "none", first=0)
    with pytest.raises(NothingSampled):
        run_campaign(read_settings(path))
    assert main([str(path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "could be estimated at none of the points of 1 rounds" in error
    assert "Raise `sweeps` or `ensemble.cells`" in error


def test_a_round_that_taught_nothing_leaves_its_sigmas_unknown(finished, tmp_path):
    path = unknown_from(finished, tmp_path / "second", first=24)
    first, second = run_campaign(read_settings(path)).rounds
    assert first.n_points == second.n_points == 24
    assert np.isnan([second.unseen_rmse, second.calibration, second.sigma_mu]).all()
    assert second.train_rmse > 0
    numbers = figures_of_merit(gather(path.parent / "run"))
    assert numbers["mu_sigma_meV"] is numbers["mu_rmse_unseen_meV"] is None
    assert write_report(path.parent / "run").exists()


def test_an_expansion_of_other_energies_is_not_used_again(tmp_path):
    """Deleting the store to start afresh leaves expansion.json, which then no longer fits."""
    settings = read_settings(campaigns.write_settings(tmp_path))
    energies = read_campaign_energies(settings)
    settings.directory.mkdir()
    first = prepare_expansion(settings, energies)
    assert np.array_equal(prepare_expansion(settings, energies).eci, first.eci)
    other = replace(energies, formation_energies=2 * energies.formation_energies, source_hash="0")
    assert not np.array_equal(prepare_expansion(settings, other).eci, first.eci)


def test_energies_may_be_named_by_text(tmp_path):
    settings = read_settings(campaigns.write_settings(tmp_path))
    named = settings.energies.model_copy(update={"file": str(settings.energies.file)})
    energies = read_campaign_energies(settings.model_copy(update={"energies": named}))
    assert energies.source_hash == read_campaign_energies(settings).source_hash


def test_the_ordered_phase_is_named_after_the_species(tmp_path):
    settings = read_settings(
        campaigns.write_settings(tmp_path, ("enumerate_up_to = 4", "enumerate_up_to = 2"))
    )
    settings.directory.mkdir()
    prepare_expansion(settings, read_campaign_energies(settings))
    content = json.loads((settings.directory / SUMMARY).read_text())
    assert content["gamma_prime"] == "L1_2 Ni3Al"
    assert content["l12_on_hull"] is False  # not enumerated up to two atoms
