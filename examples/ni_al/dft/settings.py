"""The settings every calculation shares; each record repeats them."""

METHOD = "GPAW 22.8.0 PBE, plane waves 400 eV, ideal sites, relaxed volume"
"""Of every record of the file that does not say otherwise."""
METHOD_FULL = "GPAW 22.8.0 PBE, plane waves 400 eV, relaxed shape, volume and positions"
CUTOFF = 400.0
"""Plane-wave cutoff (eV)."""
CONVERGENCE = {"energy": 2e-5, "density": 1e-4, "eigenstates": 1e-5, "bands": "occupied"}
TETRAHEDRA = {"name": "improved-tetrahedron-method"}
SMEARING = {"name": "marzari-vanderbilt", "width": 0.2}
COARSE = 3.5
"""k-points per Å⁻¹ of the equation of state and of relaxations."""
MAGNETIC_UP_TO = 0.40
"""Al fraction up to which calculations start ferromagnetic."""
START_MOMENT = 0.7
"""μ_B per Ni atom at the start."""
VANISHED_MOMENT = 0.01
"""μ_B per atom below which a crystal counts as non-magnetic."""
SCALES = (1.018, 1.0, 0.982)
"""Lattice parameters of the equation of state, relative to the guess."""


def equation_of_state_density(sites: int) -> float:
    """k-points per Å⁻¹ of the equation of state."""
    return max(COARSE, 5.0) if sites == 1 else COARSE


def final_density(sites: int, x_al: float) -> float:
    """k-points per Å⁻¹ of the final energy."""
    if sites == 1:
        return 9.0 if x_al == 1 else 6.0
    return 5.0 if x_al < 0.6 else 6.0
