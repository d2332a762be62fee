"""Any phase of a database has pycalphad's energy, gradient and Hessian; bad requests are named."""

import warnings

import numpy as np
import pycalphad
import pytest
import torch
from pycalphad import variables as v

from idnn.free_energy import FreeEnergy, WithEvaluate, WithGradient, WithHessian
from idnn.units import EV_PER_SITE_IN_J_PER_MOL
from phasefield.calphad import default_database
from phasefield.free_energies import Bounded, require_admissible
from phasefield.phases import DatabasePhase

FOLDER = default_database().parent
PHASES = [
    ("alni_dupin_2001.tdb", "LIQUID", ("NI", "AL"), 1900.0),
    ("alni_dupin_2001.tdb", "FCC_A1", ("NI", "AL"), 400.0),
    ("alni_dupin_2001.tdb", "FCC_A1", ("AL", "NI"), 1000.0),
    ("alni_dupin_2001.tdb", "BCC_B2", ("NI", "AL"), 1000.0),
    ("alni_dupin_2001.tdb", "FCC_L12", ("NI", "AL"), 600.0),
    ("alni_dupin_2001.tdb", "AL3NI2", ("NI", "AL"), 600.0),
    ("crfe_bcc_magnetic.tdb", "BCC_A2", ("FE", "CR"), 600.0),
    ("cfe_broshe.tdb", "FCC_A1", ("FE", "C"), 1000.0),
    ("alcrni.tdb", "FCC_A1", ("NI", "AL", "CR"), 1200.0),
]
"""Magnetic or not, with vacancies on sublattices that mix, with carbon between the atoms."""

ORDERED = [("alcrni.tdb", "L12_FCC", ("NI", "AL", "CR"), 1200.0)]
"""A ternary one, whose Hessian as an expression takes too long to find for a test."""


def read(file, name, elements):
    return DatabasePhase.from_database(FOLDER / file, name, elements)


def fractions(phase, count=12):
    """Site fractions by constituent, [state] each, none below 1e-3."""
    generator = torch.Generator().manual_seed(len(phase.fields))
    found = {}
    for s, own in enumerate(phase.sublattices):
        shares = torch.rand(count, len(own), generator=generator, dtype=torch.float64) + 2e-3
        shares /= shares.sum(1, keepdim=True)
        found |= {(s, one): shares[:, k] for k, one in enumerate(own)}
    return found


def of(phase, y):
    """The fields of an energy."""
    return torch.stack([y[each] for each in phase.fields], -1)


class Theirs:
    """pycalphad's G_M and its derivatives in the independent site fractions, eV/site."""

    def __init__(self, file, name, elements, temperature):
        self.phase = read(file, name, elements)
        present = sorted({one for own in self.phase.sublattices for one in own} | {"VA"})
        self.database = pycalphad.Database(str(FOLDER / file))
        self.components, self.name, self.temperature = present, name, temperature
        model = pycalphad.Model(self.database, present, name)
        self.symbols = [v.SiteFraction(name, *each) for each in self.phase.fields]
        known = {v.T: temperature, v.P: 101325.0}
        for s, (dependent, *others) in enumerate(self.phase.sublattices):
            rest = 1 - sum(v.SiteFraction(name, s, one) for one in others)
            known[v.SiteFraction(name, s, dependent)] = rest
        self.expression = model.GM.xreplace(known)

    def energies(self, y):
        points = torch.stack([y[each] for each in sorted(y)], -1).numpy()
        found = pycalphad.calculate(
            self.database, self.components, self.name, T=self.temperature, P=101325.0,
            points=points, output="GM",
        )  # fmt: skip
        return found.GM.values.ravel() / EV_PER_SITE_IN_J_PER_MOL

    def derivative(self, u, *fields):
        expression = self.expression
        for i in fields:
            expression = expression.diff(self.symbols[i])
        rows = [dict(zip(self.symbols, row, strict=True)) for row in u.tolist()]
        values = [float(expression.xreplace(row).n()) for row in rows]
        return np.array(values) / EV_PER_SITE_IN_J_PER_MOL


@pytest.mark.parametrize("case", PHASES + ORDERED)
def test_the_energy_is_that_of_pycalphads_calculate(case):
    theirs = Theirs(*case)
    y = fractions(theirs.phase)
    f = theirs.phase.at(case[-1])
    np.testing.assert_allclose(f(of(theirs.phase, y)), theirs.energies(y), rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", PHASES + ORDERED)
def test_the_gradient_is_pycalphads(case):
    theirs = Theirs(*case)
    u = of(theirs.phase, fractions(theirs.phase, 4))
    slopes = theirs.phase.at(case[-1]).gradient(u)
    for i in range(u.shape[1]):
        # 1e-9 as asked; 1e-11 eV for slopes that happen to be small.
        np.testing.assert_allclose(slopes[:, i], theirs.derivative(u, i), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", PHASES)
def test_the_hessian_is_pycalphads(case):
    theirs = Theirs(*case)
    u = of(theirs.phase, fractions(theirs.phase, 2))
    curvatures = theirs.phase.at(case[-1]).hessian(u)
    for i in range(u.shape[1]):
        for j in range(i + 1):
            expected = theirs.derivative(u, i, j)
            for found in (curvatures[:, i, j], curvatures[:, j, i]):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_its_tangent_has_the_chemical_potentials_of_pycalphads_equilibrium():
    phase = read("alcrni.tdb", "FCC_A1", ("NI", "AL", "CR"))
    x = torch.tensor([0.06, 0.2], dtype=torch.float64)
    value, slope = phase.at(1200.0).evaluate(x[None])
    nickel = value[0] - x @ slope[0]
    mu = torch.stack([nickel + slope[0, 0], nickel + slope[0, 1], nickel])
    conditions = {v.X("AL"): 0.06, v.X("CR"): 0.2, v.T: 1200.0, v.P: 101325.0, v.N: 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pycalphad.equilibrium(
            pycalphad.Database(str(FOLDER / "alcrni.tdb")), ["AL", "CR", "NI"], ["FCC_A1"],
            conditions,
        )  # fmt: skip
    # How far pycalphad's solver converges.
    np.testing.assert_allclose(
        mu * EV_PER_SITE_IN_J_PER_MOL, found.MU.values.ravel()[:3], rtol=1e-7
    )


def test_it_is_a_free_energy_with_a_compiled_pass_and_a_domain():
    phase = read("alni_dupin_2001.tdb", "BCC_B2", ("NI", "AL"))
    f = phase.at(1000.0, floor=1e-2)
    for protocol in (FreeEnergy, WithGradient, WithHessian, WithEvaluate, Bounded):
        assert isinstance(f, protocol)
    eta = of(phase, fractions(phase, 100))
    value, slopes = f.evaluate(eta)
    u = eta.T.contiguous().numpy()
    total, _ = f.kernel(u, np.zeros(4), 0, 100)
    assert total == pytest.approx(float(value.sum()), rel=1e-13)
    np.testing.assert_allclose(u.T, slopes, rtol=0, atol=1e-12)


def test_a_floor_continues_the_energy_beyond_the_pure_states():
    phase = read("alni_dupin_2001.tdb", "LIQUID", ("NI", "AL"))
    exact, continued = phase.at(1900.0), phase.at(1900.0, floor=0.01)
    u = torch.tensor([[0.01], [0.5], [0.99]], dtype=torch.float64)
    for one in ("__call__", "gradient", "hessian"):
        torch.testing.assert_close(getattr(continued, one)(u), getattr(exact, one)(u))
    outside = torch.tensor([[-0.01], [1.01]], dtype=torch.float64)
    assert exact(outside).isnan().all()
    assert continued(outside).isfinite().all()


def test_the_dependent_constituent_is_the_first_element_then_a_vacancy():
    assert read("alni_dupin_2001.tdb", "BCC_B2", ("AL", "NI")).fields == (
        (0, "VA"), (0, "NI"), (1, "VA"), (1, "NI"),
    )  # fmt: skip
    assert read("cfe_broshe.tdb", "FCC_A1", ("FE", "C")).fields == ((1, "C"),)
    assert read("alni_dupin_2001.tdb", "AL3NI2", ("NI", "AL")).fields == ((1, "AL"), (2, "VA"))


def test_fields_outside_the_domain_are_refused_with_their_place():
    phase = read("alcrni.tdb", "FCC_A1", ("NI", "AL", "CR"))
    f = phase.at(1200.0)
    u = torch.full((2, 3, 3), 0.4, dtype=torch.float64)
    require_admissible(u, f)
    u[:, 1, 2] = 0.6
    with pytest.raises(ValueError, match=r"sublattice fraction in \[0, 1\]: 1 of 9 cells"):
        require_admissible(u, f)
    u[0, 1, 2] = -0.1
    with pytest.raises(ValueError, match="1 of 9 cells"):
        require_admissible(u, f)


@pytest.mark.parametrize(
    ("file", "name", "elements", "message"),
    [
        ("alni_dupin_2001.tdb", "HCP_A3", ("NI", "AL"), r"phase HCP_A3; .* holds AL3NI1, "),
        ("alni_dupin_2001.tdb", "FCC_A1", ("NI", "CR"), "FCC_A1 has, AL, NI, VA; they are NI, CR"),
        ("alni_dupin_2001.tdb", "FCC_A1", ("NI", "NI"), "different ones"),
        ("alni_dupin_2001.tdb", "FCC_A1", (), "different ones"),
        ("alni_dupin_2001.tdb", "AL3NI1", ("NI",), "fill every sublattice .* nothing is left"),
        ("alni_dupin_2001.tdb", "AL3NI1", ("NI", "AL"), "must leave AL3NI1 something to vary"),
        ("alnifcc4sl.tdb", "FCC_L12", ("NI", "AL"), "50 are absent or differ"),
        ("al2o3_nd2o3_zro2.tdb", "FLUO", ("AL", "O"), r"elements and vacancies; FLUO holds AL\+3"),
    ],
)  # fmt: skip
def test_a_phase_that_cannot_be_read_is_refused(file, name, elements, message):
    with pytest.raises(ValueError, match=message):
        read(file, name, elements)


def test_a_missing_database_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.tdb"):
        DatabasePhase.from_database(tmp_path / "none.tdb", "FCC_A1", ("NI", "AL"))


@pytest.mark.parametrize(
    ("temperature", "message"),
    [
        (float("nan"), "`temperature` must be finite and positive"),
        (200.0, r"the database defines G\(FCC_A1,.*at 200 K it does not: .*298.15 <= T"),
        (6000.0, "at 6000 K it does not"),
    ],
)
def test_a_temperature_outside_the_assessment_is_refused(temperature, message):
    for name in ("FCC_A1", "FCC_L12"):
        with pytest.raises(ValueError, match=message):
            read("alni_dupin_2001.tdb", name, ("NI", "AL")).at(temperature)
