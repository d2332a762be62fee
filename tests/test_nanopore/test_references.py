"""Regression: WaterTAP's DSPM-DE, and solutions of an independent solver, both in `examples`."""

import sys
from pathlib import Path

import pytest
import torch

from idnn.nanopore import LearnedLocalClosure, untrained

sys.path.append(str(Path(__file__).parents[2] / "examples/benchmarks"))

import nanopore as benchmark_script


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        ("5ion_noCP", 1e-6),
        ("5ion_CP", 1e-6),
        ("5ion_x2_CP", 1e-5),
        ("NaCl_CP", 1e-6),
        ("NaCl_noCP", 1e-6),
        ("NaCl_CP_Kf1e-5", 3e-5),
    ],
)
def test_rejections_with_two_nodes_are_those_of_watertap(case, tolerance):
    """To the digits it prints; the last two with four and five digits."""
    assert benchmark_script.watertap_error(case) < tolerance


def test_fluxes_with_two_nodes_are_those_of_watertap():
    _, flux, _ = benchmark_script.element("5ion_noCP")
    table = [row for row in benchmark_script.rows("watertap.csv") if row["case"] == "5ion_noCP"]
    wanted = torch.tensor([float(row["watertap_flux_mol_m2_s_avg"]) for row in table]).double()
    assert [row["species"] for row in table] == ["H2O", *benchmark_script.SEAWATER]
    assert torch.allclose(flux, wanted, rtol=1e-4)  # Na and Cl are printed with four digits


def test_rejections_and_fluxes_are_those_of_shooting_to_nine_digits():
    assert benchmark_script.exact_error() < 1e-9


def test_integration_along_the_pore_finds_the_same_rejections_and_fluxes():
    """With a local closure that corrects nothing, at the lowest and the highest pressure."""
    b = benchmark_script
    table = [b.rows("exact.csv")[i] for i in (0, -1)]
    species = b.ions(tuple(b.SEAWATER))
    dilution, pressure, flux = (
        torch.tensor([float(row[name]) for row in table], dtype=b.D)
        for name in ("feed_dilution", "dP_bar", "Jv_m_per_s")
    )
    found = b.transport(
        species, dilution[:, None] * b.seawater(), b.MEMBRANE, pressure=pressure * b.BAR,
        water=b.WATER, closure=LearnedLocalClosure(*untrained(0)),
    )  # fmt: skip
    rejection = [[float(row[f"R_{name}"]) for name in species.names] for row in table]
    assert torch.allclose(found.rejection, torch.tensor(rejection, dtype=b.D), atol=1e-9)
    assert torch.allclose(found.flux, flux, rtol=1e-9)


def test_the_cases_of_the_benchmark_are_solved_and_as_many_in_a_second_as_told():
    assert benchmark_script.speed(64, gradient=True) > 100


@pytest.mark.parametrize(
    ("names", "rejection"),
    [
        (("Na", "Cl"), 0.958426),
        (("Mg", "Cl"), 0.923080),
        (("Ca", "Cl"), 0.930487),
        (("Na", "SO4"), 0.999972),
        (("Mg", "SO4"), 0.999978),
    ],
)
def test_rejections_of_single_salts_are_those_of_shooting(names, rejection):
    """10 mol/m³ at 8 bar, to the six digits known."""
    b = benchmark_script
    species = b.ions(names)
    feed = b.neutralised(torch.full((2,), 10.0, dtype=b.D), species, names[-1])
    if names == ("Na", "SO4"):
        feed = torch.tensor([20.0, 10.0], dtype=b.D)
    found = b.transport(species, feed, b.MEMBRANE, pressure=8e5, water=b.WATER)
    assert float(found.rejection[0]) == pytest.approx(rejection, abs=1e-6)
