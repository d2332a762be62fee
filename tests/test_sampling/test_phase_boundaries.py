"""The referee: coexistence where half ordered boxes say it is, and continued runs."""

import json

import numpy as np

from idnn.order_parameters import FCC_L12
from sampling import phase_boundaries as referee
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import Estimate
from sampling.hamiltonian import ClusterHamiltonian
from sampling.lattice import Supercell

SMALL = {"cells": 6, "order_cells": (), "walkers": 8, "sweeps": 300, "burn_in": 100}


def test_half_ordered_boxes_become_the_phase_that_the_free_energies_prefer():
    kelvin = 600.0
    alloy = referee.Alloy(illustrative_expansion(), referee.Settings(**SMALL))
    middle = (alloy.low + alloy.high) / 2
    heated = referee.trunk(
        alloy, middle, np.array([300.0, 350.0, 400.0, 450.0, 500.0, 550.0, kelvin]), 6
    )
    limit = Estimate(heated.reduced.value[-1, ...], heated.reduced.stderr[-1, ...])
    found = referee.boundary(alloy, kelvin, limit, middle)
    field, sigma = found["where"]
    assert sigma < 0.002
    assert found["x_gamma"][0] < found["x_gamma_prime"][0] < 0.27

    sides = np.array([field - 0.015, field + 0.015])
    box = Supercell(FCC_L12, 6)
    half = np.tile(np.arange(216) // 36 < 3, 4)
    start = np.where(half, alloy.crystal(6, ordered=True), alloy.crystal(6, ordered=False))
    samples = sample(
        ClusterHamiltonian.on(alloy.expansion, box), referee.fields(sides), temperature=kelvin,
        schedule=Schedule(walkers=8, sweeps=400, burn_in=1200, stride=2), seed=2,
        start=np.tile(start, (2, 8, 1)),
    )  # fmt: skip
    order = np.linalg.norm(samples.eta[..., 1:].mean(1), axis=-1) / np.sqrt(3 / 16)
    assert (order[0] < 0.3).sum() >= 7
    assert (order[1] > 0.6).sum() >= 7


def test_a_finished_run_is_read_and_a_changed_one_begun_again(monkeypatch, tmp_path):
    settings = {**SMALL, "walkers": 2, "temperatures": (400.0, 500.0), "sweeps": 40}
    calls = []

    def boundary(alloy, kelvin, limit, middle):
        calls.append(kelvin)
        return {"where": [kelvin, 0.0], "x_gamma": [0.1, 0.0], "x_gamma_prime": [0.2, 0.0]}

    def run(**changes):
        store = tmp_path / "test.json"
        chosen = referee.Settings(**(settings | changes))
        referee.phase_boundaries(tmp_path / "expansion.json", store, chosen)
        return json.loads(store.read_text())

    monkeypatch.setattr(referee, "boundary", boundary)
    illustrative_expansion().to_json(tmp_path / "expansion.json")
    assert list(run()["boundaries"]) == ["400", "500"]
    assert list(run(temperatures=(400.0, 500.0, 600.0))["boundaries"]) == ["400", "500", "600"]
    assert calls == [400, 500, 600]
    run(seed=5)
    assert calls == [400, 500, 600, 400, 500]
    assert (tmp_path / "test.png").exists()
