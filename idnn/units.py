"""Physical constants (CODATA 2018, exact in the SI) and the conversions used between packages."""

BOLTZMANN_EV = 8.617333262e-5
"""k_B in eV/K."""

AVOGADRO = 6.02214076e23
"""N_A in 1/mol."""

ELEMENTARY_CHARGE = 1.602176634e-19
"""e in C; also J per eV."""

EV_PER_SITE_IN_J_PER_MOL = ELEMENTARY_CHARGE * AVOGADRO
"""1 eV/site in J per mole of sites."""

VACUUM_PERMITTIVITY = 8.8541878128e-12
"""ε₀ in F/m."""

GAS_CONSTANT = BOLTZMANN_EV * EV_PER_SITE_IN_J_PER_MOL
"""R in J/(mol K)."""

BOLTZMANN_PA_A3 = 1e30 * GAS_CONSTANT / AVOGADRO
"""k_B in Pa Å³/K."""

COULOMB_K_A = (
    1e10 * ELEMENTARY_CHARGE / (4 * 3.141592653589793 * VACUUM_PERMITTIVITY * BOLTZMANN_EV)
)
"""e²/(4πε₀ k_B) in K Å: the energy over k_B of two elementary charges 1 Å apart."""
