"""Ion transport through the pores of polyamide nanofiltration membranes."""

from idnn.nanopore.activity import Davies, debye_hueckel
from idnn.nanopore.channel import spiral_wound
from idnn.nanopore.collocation import two_nodes
from idnn.nanopore.hindrance import bowen_mohammad_hilal, dechadilok_deen, geraldes_alves
from idnn.nanopore.ions import Ions, ions
from idnn.nanopore.membrane import Membrane, Water, layered_permittivity, pore_viscosity
from idnn.nanopore.solutions import neutralised, permeate_of
from idnn.nanopore.transport import NotConverged, Transport, transport

__all__ = [
    "Davies",
    "Ions",
    "Membrane",
    "NotConverged",
    "Transport",
    "Water",
    "bowen_mohammad_hilal",
    "debye_hueckel",
    "dechadilok_deen",
    "geraldes_alves",
    "ions",
    "layered_permittivity",
    "neutralised",
    "permeate_of",
    "pore_viscosity",
    "spiral_wound",
    "transport",
    "two_nodes",
]
