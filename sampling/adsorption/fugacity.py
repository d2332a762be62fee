"""Fugacity of a pure gas by the equation of state of Peng and Robinson."""

import math

import numpy as np

from idnn.adsorption.guests import Guest
from idnn.units import GAS_CONSTANT


def fugacity_coefficient(guest: Guest, *, temperature: float, pressure: float) -> float:
    """φ of the stable fluid (Peng & Robinson 1976, doi:10.1021/i160057a011).

    Z³ − (1−B)Z² + (A−3B²−2B)Z − (AB−B²−B³) = 0, and of its roots the one of lowest φ is stable:
    ln φ = Z − 1 − ln(Z−B) − A/(2√2 B) ln[(Z+(1+√2)B)/(Z+(1−√2)B)].

    Args:
        guest: gives the critical constants and the acentric factor.
        temperature: K.
        pressure: Pa.
    """
    reduced = temperature / guest.critical_temperature
    omega = guest.acentric_factor
    kappa = 0.37464 + 1.54226 * omega - 0.26992 * omega**2
    alpha = (1 + kappa * (1 - math.sqrt(reduced))) ** 2
    thermal = GAS_CONSTANT * temperature
    attraction = 0.45723553 * alpha * (GAS_CONSTANT * guest.critical_temperature) ** 2
    a = attraction / guest.critical_pressure * pressure / thermal**2
    b = 0.07779607 * reduced**-1 * pressure / guest.critical_pressure
    roots = np.roots([1, b - 1, a - 3 * b**2 - 2 * b, -(a * b - b**2 - b**3)])
    real = roots.real[np.abs(roots.imag) < 1e-9]
    return min(_coefficient(float(z), a, b) for z in real if z > b)


def _coefficient(z: float, a: float, b: float) -> float:
    root = math.sqrt(2)
    ratio = (z + (1 + root) * b) / (z + (1 - root) * b)
    return math.exp(z - 1 - math.log(z - b) - a / (2 * root * b) * math.log(ratio))
