"""Membranes and solutions that the tests of nanopores share."""

import torch

from idnn.nanopore import Ions, Membrane, ions, neutralised

D = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=D)


def membrane(radius=0.5e-9, thickness=1.33e-6, charge=-27.0, permittivity=41.3):
    return Membrane(*tensor(radius, thickness, charge, permittivity))


def salt(*, diffusivity=(1.5e-9, 1.5e-9), radius=(0.2e-9, 0.2e-9), charge=(1.0, -1.0)):
    """Two ions, alike but for their charge unless told otherwise."""
    return Ions(
        ("A", "B"), tensor(*charge), tensor(*diffusivity), tensor(*radius), tensor(0.03, 0.03)
    )


def brine():
    """Three cations and two anions, 40 mol/m³ of charges."""
    species = ions(("Na", "Li", "Mg", "SO4", "Cl"))
    return species, neutralised(tensor(20.0, 4.0, 8.0, 5.0, 1.0), species, "Cl")
