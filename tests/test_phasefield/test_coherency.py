"""Coherent γ/γ′: misfit and moduli of the table, units, and what elasticity does to the phases."""

import pytest
import torch
from superalloys import alloy

from phasefield.coherency import PASCAL, coherent
from phasefield.ni_al import NI_AL
from phasefield.precipitates import Precipitate, in_matrix
from phasefield.stiffness import GIGAPASCAL

JOULE = 6.241509074460763e18
"""EV."""


def particle(shape=(24, 24)):
    ni_al = alloy(1073, shape, 0.5e-9, walls=False, dealias=1.0)
    middle = tuple(n * 0.25e-9 for n in shape)
    return ni_al, in_matrix(ni_al, [Precipitate(middle, 3e-9)])


def test_moduli_and_misfit_are_those_of_the_table_in_ev_per_cubic_nanometre():
    ni_al, _ = particle()
    elastic = coherent(ni_al, NI_AL).model.elastic
    c11 = NI_AL.moduli[0].at(1073)
    assert elastic.stiffness[0, 0] == pytest.approx(c11 * JOULE * 1e-27)
    assert pytest.approx(GIGAPASCAL) == PASCAL * 1e9
    other = elastic.stiffness + elastic.contrasts[0].change
    assert other[3, 3] == pytest.approx(NI_AL.moduli_ordered[2].at(1073) * PASCAL)
    mean = coherent(ni_al, NI_AL, one_stiffness=True).model.elastic.stiffness
    assert mean[3, 3] == pytest.approx(float(elastic.stiffness[3, 3] + other[3, 3]) / 2)
    assert elastic.misfits[0].strain[1, 1] == pytest.approx(NI_AL.misfit.at(1073))
    assert elastic.mean_strain == {"zz": 0.0, "yz": 0.0, "xz": 0.0}
    low, high = ni_al.compositions
    ends = torch.tensor([[low, 0, 0, 0], [high, 0.2, 0.2, 0.2]], dtype=torch.float64)
    assert elastic.misfits[0].share(ends).tolist() == pytest.approx([0.0, 1.0], abs=1e-14)


def test_gamma_alone_is_free_of_stress_and_a_stress_is_given_in_pascal():
    ni_al, _ = particle()
    free = coherent(ni_al, NI_AL, one_stiffness=True)
    u = in_matrix(free, [])
    assert float(free.model.elastic.respond(u).energy) == pytest.approx(0, abs=1e-12)
    pulled = coherent(ni_al, NI_AL, one_stiffness=True, mean_stress={"xx": 1e8})
    assert pulled.model.elastic.stress(u)[0, 0, 0] / PASCAL == pytest.approx(1e8)


@pytest.mark.parametrize("one_stiffness", [True, False])
def test_what_is_held_and_applied_reaches_a_body_in_space_which_else_is_free(one_stiffness):
    ni_al = alloy(1073, (4, 4, 4), 0.5e-9, walls=False, dealias=1.0)
    options = {"one_stiffness": one_stiffness}
    assert coherent(ni_al, NI_AL, **options).model.elastic.mean_strain == {}
    held = coherent(ni_al, NI_AL, mean_strain={"xx": 1e-3}, mean_stress={"yy": 2e8}, **options)
    u = in_matrix(held, [])
    elastic = held.model.elastic
    c11, c12 = elastic.stiffness[0, :2].tolist()
    # σ_zz = 0 and σ_yy as applied: two equations for the other two strains.
    side = torch.linalg.solve(
        torch.tensor([[c11, c12], [c12, c11]]),
        torch.tensor([2e8 * PASCAL - c12 * 1e-3, -c12 * 1e-3]),
    )
    expected = [c11 * 1e-3 + c12 * float(side.sum()), 2e8 * PASCAL, 0, 0, 0, 0]
    assert elastic.stress(u)[:, 0, 0, 0].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_a_particle_in_the_plane_has_the_energy_of_a_dilated_cylinder():
    """Of the order of B/2 per volume, between its values along ⟨10⟩ and ⟨11⟩, for one stiffness."""
    ni_al, u = particle()
    strained = coherent(ni_al, NI_AL, one_stiffness=True)
    grid = strained.model.grid
    theta = strained.model.elastic.misfits[0].share(u.movedim(0, -1))
    uneven = float((theta - theta.mean()).square().sum())
    energy = float(strained.model.elastic.respond(u).energy)
    c11, c12, c44 = (
        (NI_AL.moduli[i].at(1073) + NI_AL.moduli_ordered[i].at(1073)) / 2 for i in range(3)
    )
    pressure = NI_AL.misfit.at(1073) ** 2 * (c11 + 2 * c12) * PASCAL
    # The mean follows in the plane alone: zz stays held at the misfit's mean.
    soft, hard = (
        0.5 * pressure * (3 - (c11 + 2 * c12) / along) * uneven
        for along in (c11, (c11 + c12 + 2 * c44) / 2)
    )
    mean = 0.5 * float(theta.mean()) ** 2 * grid.cells
    plane = NI_AL.misfit.at(1073) ** 2 * (c11 - 2 * c12**2 / (c11 + c12)) * PASCAL * mean
    assert soft < energy - plane < hard


def test_elasticity_adds_to_the_energy_and_its_force():
    ni_al, u = particle()
    u_hat = ni_al.model.grid.transform(u)
    for one in (True, False):
        strained = coherent(ni_al, NI_AL, one_stiffness=one).model
        at = strained.evaluate(u_hat)
        energy = strained.energy(u_hat, at)
        plain = ni_al.model.energy(u_hat, ni_al.model.evaluate(u_hat))
        assert energy.elastic > 0
        assert energy.bulk == pytest.approx(plain.bulk, rel=1e-14)
        assert energy.total == pytest.approx(plain.total + energy.elastic, rel=1e-14)


def test_walls_are_refused():
    walled = alloy(1073, (16,), 0.5e-9)
    with pytest.raises(ValueError, match="`grid` must be periodic"):
        coherent(walled, NI_AL)
