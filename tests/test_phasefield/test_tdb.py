"""A learned free energy written as a CALPHAD database is the same to pycalphad."""

import logging
import math

import pycalphad
import pytest
import torch
from pycalphad import variables as v
from references import DupinNickelAluminium, sobol_states

from idnn.data import Derivatives
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.equilibrium import tie_lines
from idnn.free_energy import BraggWilliams, IdealMixing, chemical_potential, hessian
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_B2, FCC_L12
from idnn.ordered_fcc_fit import MISS, fit_ordered_fcc
from idnn.ordered_fcc_form import OrderedFccForm
from idnn.tdb import to_tdb
from idnn.thermal import ThermalNetwork
from phasefield.calphad import OrderedFcc

TEMPERATURES = (900.0, 1300.0)

GAMMA = (0.0, 0.3)
"""Compositions of both phases, and some more."""

PAIR, PAIR_T = (2 / 3 * -22212.8931, 2 / 3 * 4.39570389)
"""Energy U1 of an unlike pair, J/mol."""

ASSESSED = {
    "G": (0.0, 0.0),
    "L0": (-162407.75, 16.212965),
    "L1": (73417.798, -34.914168),
    "L2": (33471.014, -9.8373558),
    "L3": (-30758.01, 10.25267),
    "E1": (3 * PAIR, 3 * PAIR_T),
    "E2": (4 * PAIR, 4 * PAIR_T),
    "E3": (3 * PAIR, 3 * PAIR_T),
    "R1": (7203.60609, -3.7427303),
}
"""Dupin, Ansara & Sundman (2001), as in pycalphad's alni_dupin_2001.tdb."""


class NotMagnetic(DupinNickelAluminium):
    """What the form can hold."""

    def _magnetism(self, x):
        return 0 * x


class Mirrored(NotMagnetic):
    """With the elements exchanged, their pure states staying at zero."""

    def joule_per_mole(self, y):
        return super().joule_per_mole(1 - y)


@pytest.fixture(scope="module")
def fit():
    """Of γ and γ′ alone."""
    return fit_ordered_fcc({t: NotMagnetic(t) for t in TEMPERATURES}, composition=GAMMA)


def tie_line_of_pycalphad(path, temperature, composition=0.19, solute="AL"):
    database = pycalphad.Database(str(path))
    conditions = {v.T: temperature, v.P: 1e5, v.N: 1, v.X(solute): composition}
    found = pycalphad.equilibrium(database, ["AL", "NI", "VA"], ["FCC_L12"], conditions)
    x = found.X.sel(component=solute).values.ravel()
    return sorted(x[x == x])


def test_the_fit_recovers_the_assessed_parameters(fit):
    for name, (a, b) in ASSESSED.items():
        # Rounding, by what the condition of the problem makes of it.
        assert fit.parameters[name][0] == pytest.approx(a, rel=1e-9, abs=1e-5), name
        assert fit.parameters[name][1] == pytest.approx(b, rel=1e-9, abs=1e-8), name
    assert fit.error_f < 1e-12
    assert fit.error_mu < 1e-12
    assert fit.miss < 1e-9


def test_the_fit_holds_on_four_different_sublattices_and_between_temperatures(fit):
    eta = sobol_states(500, seed=3)
    for t in (950.0, 1273.0):
        # Rounding, which solving the fit enlarges: 1.3e-12 of 500 states has been seen.
        torch.testing.assert_close(fit.at(t)(eta), NotMagnetic(t)(eta), rtol=0, atol=1e-11)


def test_its_derivatives_are_those_of_its_value(fit):
    f, eta = fit.at(1000.0), sobol_states(50, seed=4)

    def plain(eta):
        return f(eta)

    torch.testing.assert_close(f.gradient(eta), chemical_potential(plain, eta).detach())
    torch.testing.assert_close(f.hessian(eta), hessian(plain, eta))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_pycalphad_finds_the_tie_line_of_the_energy(fit, temperature, tmp_path):
    to_tdb(fit, tmp_path / "fit.tdb", ("Ni", "Al"))
    (wanted,) = [line for line in fit.lines if line.temperature == temperature]
    # pycalphad rounds R to 8.3145, which moves the ends by some 1e-6.
    found = tie_line_of_pycalphad(tmp_path / "fit.tdb", temperature)
    assert found == pytest.approx(wanted.given, abs=5e-6)


def test_the_database_read_back_is_the_fit(fit, tmp_path):
    to_tdb(fit, tmp_path / "fit.tdb", ("ni", "al"))
    again = OrderedFcc.from_database(tmp_path / "fit.tdb", ("NI", "AL"))
    eta = sobol_states(500, seed=3)
    # Twelve digits of parameters that together are some 2 eV.
    torch.testing.assert_close(again.at(1100.0)(eta), fit.at(1100.0)(eta), rtol=0, atol=1e-11)


def test_odd_orders_change_sign_where_the_alphabet_wants_it(tmp_path):
    form = OrderedFccForm(solution=5, reciprocal=2)
    fit = fit_ordered_fcc({1100.0: Mirrored(1100.0)}, form=form, composition=(0.7, 1.0))
    to_tdb(fit, tmp_path / "fit.tdb", ("Al", "Ni"))
    again = OrderedFcc.from_database(tmp_path / "fit.tdb", ("AL", "NI")).at(1100.0)
    eta = sobol_states(500, seed=3)
    torch.testing.assert_close(again(eta), Mirrored(1100.0)(eta), rtol=0, atol=1e-11)


def test_what_the_form_cannot_hold_moves_the_tie_line_by_less_than_is_seen(tmp_path, caplog):
    """Magnetism, 8 meV/site at most, is no part of the form."""
    fit = fit_ordered_fcc({t: DupinNickelAluminium(t) for t in (800.0, 900.0)}, composition=GAMMA)
    to_tdb(fit, tmp_path / "fit.tdb", ("Ni", "Al"))
    assert caplog.records == []
    assert len(fit.lines) == 2
    assert 1e-5 < fit.error_f < 1e-3
    # 1.5e-7 measured; 8e-5 where the ends do not weigh more.
    assert fit.miss < 2e-6
    found = tie_line_of_pycalphad(tmp_path / "fit.tdb", 900.0)  # with its own R, as above
    assert found == pytest.approx(fit.lines[1].given, abs=5e-6)


def test_a_tie_line_that_is_missed_is_warned_of_with_the_number(caplog, tmp_path):
    """A series of one term cannot follow the assessed four."""
    with caplog.at_level(logging.WARNING):
        fit = fit_ordered_fcc(
            {1100.0: NotMagnetic(1100.0)},
            form=OrderedFccForm(solution=1, reciprocal=0),
            composition=GAMMA,
        )
    assert fit.miss > MISS
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("At 1100 K the fitted form has the γ/γ′ tie-line")
    assert "the energy 0.1355/0.2331" in message
    assert f"{fit.miss:.1e}" in message
    to_tdb(fit, tmp_path / "fit.tdb", ("Ni", "Al"))
    text = (tmp_path / "fit.tdb").read_text()
    assert "$ Tie-line at 1100 K, x(AL): learned 0.13549 0.23313" in text
    assert "Every parameter is a constant: use no other temperature." in text


def test_an_energy_without_the_tie_line_is_fitted_all_the_same(caplog):
    ideal = IdealMixing(FCC_L12.q, 1000.0)
    f = BraggWilliams(ideal, torch.tensor([-0.5, 0.1, 0.1, 0.1], dtype=torch.float64))
    fit = fit_ordered_fcc({1000.0: f})
    assert fit.lines == ()
    assert math.isnan(fit.miss)
    assert "no γ/γ′ tie-line" in caplog.text
    eta = sobol_states(100, seed=1)
    # Quadratic in all fractions: within the form.
    torch.testing.assert_close(fit.at(1000.0)(eta), f(eta), rtol=0, atol=1e-12)


@pytest.mark.parametrize("composition", [(0.0, 1.0), (0.0, 1e-9)])
def test_a_range_in_which_nothing_is_known_is_refused(composition):
    class HalfKnown(NotMagnetic):
        def __call__(self, eta):
            return torch.where(eta[..., 0] < 0.35, super().__call__(eta), torch.nan)

    with pytest.raises(ValueError, match=r"`energies` must be finite over compositions \(0"):
        fit_ordered_fcc({1100.0: HalfKnown(1100.0)}, composition=composition)


def trained():
    """A committee of two over all temperatures, from 500 exact states of the assessed energy."""
    eta = sobol_states(500, seed=1)
    draw = torch.quasirandom.SobolEngine(1, scramble=True, seed=5).draw(500).double()[:, 0]
    kelvin = TEMPERATURES[0] + (TEMPERATURES[1] - TEMPERATURES[0]) * draw
    mu = [
        chemical_potential(NotMagnetic(t), e[None]).detach()
        for t, e in zip(kelvin.tolist(), eta, strict=True)
    ]
    data = Derivatives(eta, torch.cat(mu), torch.full_like(eta, 1e-3), temperature=kelvin)
    settings = CommitteeSettings(members=2, restarts=1, network=NetworkSettings(widths=(12, 12)))
    fresh = ThermalNetwork(FCC_L12, TEMPERATURES, settings.network, seeds=settings.seeds)
    return train_committee(fresh, data, settings).network


@pytest.mark.slow
def test_pycalphad_finds_the_tie_lines_of_a_network(tmp_path):
    network = trained()
    fit = fit_ordered_fcc({t: network.at(t) for t in (900.0, 1100.0, 1300.0)})
    to_tdb(fit, tmp_path / "fit.tdb", ("Ni", "Al"))
    for t in (1100.0, 1300.0):
        (line,) = [
            line
            for line in tie_lines(network.at(t), FCC_L12, composition=(0.0, 0.4))
            if line.phases == ("A1", "L1_2")
        ]
        assert tie_line_of_pycalphad(tmp_path / "fit.tdb", t) == pytest.approx(
            line.compositions, abs=MISS
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(energies={}), "`energies` must hold at least one"),
        (dict(energies={-1.0: NotMagnetic(900.0)}), "`temperatures` must be finite and positive"),
        (dict(composition=(0.5, 0.2)), r"`composition` must rise within \[0, 1\]"),
        (dict(composition=(0.0, float("nan"))), r"`composition` must rise"),
        (
            dict(energies={900.0: IntegrableNetwork(BCC_B2, 900.0, NetworkSettings())}),
            "must be of the four sublattices of fcc-L12; one is of bcc-B2",
        ),
    ],
)
def test_energies_that_cannot_be_fitted_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_ordered_fcc(**dict(energies={900.0: NotMagnetic(900.0)}) | arguments)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (dict(solution=0), "`solution` must be at least 1; it is 0"),
        (dict(reciprocal=-1), "`reciprocal` must be at least 0; it is -1"),
    ],
)
def test_forms_without_parameters_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        OrderedFccForm(**form)


@pytest.mark.parametrize(
    ("elements", "message"),
    [(("Ni", "Xx"), "must be symbols of elements"), (("Ni", "ni"), "must be two different ones")],
)
def test_elements_that_are_none_are_refused(fit, elements, message, tmp_path):
    with pytest.raises(ValueError, match=f"`elements` {message}"):
        to_tdb(fit, tmp_path / "fit.tdb", elements)
