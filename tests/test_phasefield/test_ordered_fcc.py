"""Magnetic order has the entropy, the continuity and the signs of its model."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.polynomial import Polynomial

from idnn.units import BOLTZMANN_EV
from phasefield.ordered_fcc import Magnetism
from phasefield.symbolic import SymbolicEnergy, evaluated, field_symbols


@dataclass(frozen=True)
class OfComposition(SymbolicEnergy):
    """Magnetism as a free energy of one field."""

    magnetism: Magnetism

    def expression(self):
        (x,) = field_symbols(1)
        return (x,), self.magnetism.value(x)

    def energy(self, x):
        return evaluated((self.magnetism.energy(*self.symbols),), self.symbols, x)[0]


def magnetism(temperature, curie, moment=0.52):
    return OfComposition(
        Magnetism(temperature, Polynomial(curie), Polynomial([moment]), 0.28, -3.0)
    )


def test_magnetic_order_takes_all_of_the_moments_entropy_at_low_temperature():
    x = torch.tensor([0.3], dtype=torch.float64)
    # k ln(1 + β), less the linear term's own constant energy; τ³ has vanished at 0.01.
    low = magnetism(6.0, [600.0])
    entropy = (low.energy(x) - low(x)) / 6.0
    assert float(entropy) == pytest.approx(-BOLTZMANN_EV * np.log(1.52), rel=1e-5)


def test_magnetic_order_sets_in_without_a_jump_of_free_energy_or_enthalpy():
    x = torch.tensor([0.3], dtype=torch.float64)
    below, above = magnetism(600 * (1 - 1e-9), [600.0]), magnetism(600 * (1 + 1e-9), [600.0])
    torch.testing.assert_close(below(x), above(x), rtol=1e-7, atol=0)
    # The heat capacity is finite: 1e-9 of the temperature changes the enthalpy by 1e-8 of itself.
    torch.testing.assert_close(below.energy(x), above.energy(x), rtol=1e-6, atol=0)


@pytest.mark.parametrize("temperature", [150.0, 250.0, 900.0])
def test_a_negative_curie_temperature_is_minus_three_neel_temperatures(temperature):
    x = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None].requires_grad_()
    ferro, antiferro = magnetism(temperature, [200, 50]), magnetism(temperature, [-600, -150])
    for one in ("__call__", "gradient", "energy"):
        expected = getattr(ferro, one)(x)
        torch.testing.assert_close(getattr(antiferro, one)(x), expected, rtol=1e-14, atol=0)
    slope = torch.autograd.grad(antiferro(x).sum(), x)[0]
    torch.testing.assert_close(antiferro.gradient(x), slope, rtol=1e-12, atol=0)
