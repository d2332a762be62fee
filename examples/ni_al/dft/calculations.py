"""What one calculation does: self-consistency, equation of state, relaxation, the final record."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import settings
from ase import Atoms
from ase.constraints import ExpCellFilter  # pyright: ignore[reportAttributeAccessIssue]
from ase.optimize import BFGS
from gpaw import GPAW, PW  # pyright: ignore[reportMissingImports]
from gpaw.wavefunctions.pw import PWWaveFunctions  # pyright: ignore[reportMissingImports]
from grids import Grid, is_symmetric, smallest_grid

Record = dict[str, Any]
Moments = list[float] | None

EV_PER_A3_IN_GPA = 160.21766


def random_waves(waves: Any, *_atomic: object) -> int:  # noqa: ANN401 (GPAW is not typed)
    """Start from random plane waves; returns how many were taken from atomic orbitals, none.

    GPAW's default, atomic orbitals, takes 40 % of the time in cells so small, whose orbitals reach
    over many images; random waves converge in as many iterations to the same energy (1e-5 eV/atom).
    """
    waves.random_wave_functions(0)
    return 0


PWWaveFunctions.initialize_wave_functions_from_basis_functions = random_waves


@dataclass
class Converged:
    """A self-consistent calculation; `used` is the k-mesh and occupation that succeeded."""

    atoms: Atoms
    calculator: Any
    energy: float
    moment: float
    moments: list[float]
    used: Record

    @property
    def grid(self) -> Grid:
        """Points of the real-space grid."""
        a, b, c = (int(n) for n in self.calculator.wfs.gd.N_c)
        return a, b, c


class Clock:
    """Wall and CPU time of one calculation."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.time(), time.process_time()

    def record(self) -> Record:
        """Seconds since the start, and the date."""
        return {
            "wall_s": round(time.time() - self.wall, 1),
            "cpu_s": round(time.process_time() - self.cpu, 1),
            "date": time.strftime("%FT%T"),
        }


def relax_volume(structure: Record, log: Path, points: Path) -> Record:
    """Ideal sites and shape: volume from an equation of state, then the energy on a dense mesh.

    The largest volume comes first: where the moment vanishes there, the rest runs without spin,
    and its real-space grid serves all volumes, so that the energies lie on one smooth curve.
    Each volume is kept in `points`, so that a killed run loses one calculation at most; the times
    in the record are those of the last run.
    """
    clock = Clock()
    x, sites = structure["x_Al"], structure["n"]
    guess = (3.52 + 0.52 * x - 0.4 * x * (1 - x)) ** 3 / 4
    density = settings.equation_of_state_density(sites)
    magnetic, grid = x <= settings.MAGNETIC_UP_TO, None
    scales, volumes, energies, moments = list(settings.SCALES), [], [], []
    while len(volumes) < len(scales):
        volume = guess * scales[len(volumes)] ** 3
        point = kept_point(points, structure, volume, density)
        if point is None:
            at_volume = ideal(structure, volume)
            found = converge(at_volume, density, start(structure, magnetic), log, grid)
            point = {
                "id": structure["id"],
                "volume": volume,
                "density": density,
                "energy": found.energy,
                "moment": found.moment,
                "grid": found.grid,
            }
            append(points, point)
        if grid is None:
            a, b, c = point["grid"]
            grid = a, b, c
            magnetic = magnetic and abs(point["moment"]) / sites >= settings.VANISHED_MOMENT
        volumes.append(volume)
        energies.append(point["energy"] / sites)
        moments.append(point["moment"] / sites)
        if len(volumes) == len(scales) < 5:
            scales += further_scales(
                np.cbrt(equation_of_state(volumes, energies)[0] / guess), scales
            )
    minimum, energy, bulk_modulus = equation_of_state(volumes, energies)
    record = final(structure, "volume", ideal(structure, minimum), start(structure, magnetic), log)
    return {**record, **clock.record()} | {
        "eos_V": volumes,
        "eos_E": energies,
        "eos_M": moments,
        "eos_kd": density,
        "V0": minimum,
        "E0_coarse": energy,
        "B_GPa": bulk_modulus,
    }


def kept_point(points: Path, structure: Record, volume: float, density: float) -> Record | None:
    """A volume calculated before the run was killed."""
    if not points.exists():
        return None
    wanted = (structure["id"], volume, density)
    for line in points.read_text().splitlines():
        point = json.loads(line)
        if (point["id"], point["volume"], point["density"]) == wanted:
            return point
    return None


def relax_fully(structure: Record, volume: Record, log: Path) -> Record:
    """Shape, volume and positions relaxed from the volume's minimum; then the energy."""
    clock = Clock()
    moments = volume["magmoms"] if volume["spin"] else None
    atoms = Atoms(volume["species"], cell=volume["cell"], positions=volume["positions"], pbc=True)
    atoms.set_initial_magnetic_moments(moments)
    atoms.calc = calculator(atoms, settings.COARSE, settings.SMEARING, log)
    optimiser = BFGS(ExpCellFilter(atoms), logfile=str(log.with_suffix(".opt")), maxstep=0.05)
    converged = optimiser.run(fmax=0.02, steps=25)
    relaxed = Atoms(
        atoms.get_chemical_symbols(), cell=atoms.cell.array, positions=atoms.positions, pbc=True
    )
    return {**final(structure, "full", relaxed, moments, log), **clock.record()} | {
        "method": settings.METHOD_FULL,
        "relax_converged": bool(converged),
        "relax_steps": int(optimiser.nsteps),
        "shape_stretches": shape_stretches(volume["cell"], atoms.cell.array).tolist(),
        "max_internal_disp": largest_displacement(atoms, volume["ideal_scaled"]),
    }


def single_point(volume: Record, mesh: int, log: Path) -> Record:
    """The energy at the relaxed volume on an n×n×n mesh."""
    clock = Clock()
    atoms = Atoms(volume["species"], cell=volume["cell"], positions=volume["positions"], pbc=True)
    initial = [settings.START_MOMENT if s == "Ni" else 0.0 for s in volume["species"]]
    moments = initial if volume["spin"] else None
    atoms.set_initial_magnetic_moments(moments)
    mesh_by_size = {"size": (mesh,) * 3, "gamma": True}
    atoms.calc = calculator(atoms, mesh_by_size, settings.TETRAHEDRA, log)
    energy = atoms.get_potential_energy()
    moment = float(atoms.get_magnetic_moment()) if moments else 0.0
    return {
        "id": volume["id"],
        "kind": "kmesh",
        "mesh": mesh,
        "n": volume["n"],
        "x_Al": volume["x_Al"],
        "energy_per_atom": energy / len(atoms),
        "magmom_per_atom": moment / len(atoms),
        "volume_per_atom": atoms.get_volume() / len(atoms),
        **clock.record(),
    }


def compress(volume: Record, cutoff: float, log: Path) -> Record:
    """A 5-point equation of state around the relaxed volume, at a plane-wave cutoff (eV)."""
    clock = Clock()
    moments = start(volume, volume["spin"])
    density = settings.equation_of_state_density(volume["n"])
    volumes, energies, grid = [], [], None
    for scale in (1.024, 1.012, 1.0, 0.988, 0.976):  # the largest's grid serves all
        atoms = Atoms(
            volume["species"], cell=volume["cell"], positions=volume["positions"], pbc=True
        )
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        atoms.set_initial_magnetic_moments(moments)
        grid = grid or smallest_grid(atoms, cutoff)
        atoms.calc = calculator(atoms, density, settings.TETRAHEDRA, log, grid, cutoff)
        energies.append(atoms.get_potential_energy() / len(atoms))
        volumes.append(atoms.get_volume() / len(atoms))
    minimum, energy, bulk_modulus = equation_of_state(volumes, energies)
    return {
        "id": volume["id"],
        "kind": "eos",
        "cutoff": cutoff,
        "density": density,
        "n": volume["n"],
        "x_Al": volume["x_Al"],
        "energy_per_atom": energy,
        "volume_per_atom": minimum,
        "B_GPa": bulk_modulus,
        "eos_V": volumes,
        "eos_E": energies,
        **clock.record(),
    }


def converge(
    atoms: Atoms, density: float, moments: Moments, log: Path, grid: Grid | None
) -> Converged:
    """Self-consistency; where the tetrahedron Fermi level is not found, a slightly denser mesh.

    Raises:
        RuntimeError: no mesh worked, smearing included.
    """
    for factor, occupations in (
        (1.0, settings.TETRAHEDRA),
        (1.12, settings.TETRAHEDRA),
        (1.25, settings.TETRAHEDRA),
        (1.12, settings.SMEARING),
    ):
        trial = atoms.copy()
        trial.set_initial_magnetic_moments(moments)
        trial.calc = calculator(trial, density * factor, occupations, log, grid)
        try:
            energy = trial.get_potential_energy()
        except AssertionError:  # GPAW's bisection for the Fermi level
            continue
        used = {
            "kd": density * factor,
            "occ": occupations["name"],
            "width": occupations.get("width"),
        }
        total = float(trial.get_magnetic_moment()) if moments else 0.0
        local = trial.get_magnetic_moments().tolist() if moments else [0.0] * len(trial)
        return Converged(trial, trial.calc, energy, total, local, used)
    raise RuntimeError(f"no k-mesh converged for {atoms.get_chemical_formula()}; read {log}")


def calculator(
    atoms: Atoms,
    kpts: float | Record,
    occupations: Record,
    log: Path,
    grid: Grid | None = None,
    cutoff: float = settings.CUTOFF,
) -> Any:  # noqa: ANN401 (GPAW is not typed)
    """GPAW for `atoms` with the shared settings, the mesh by density (points per Å⁻¹) or size."""
    grid = grid or smallest_grid(atoms, cutoff)
    mesh = kpts if isinstance(kpts, dict) else {"density": kpts, "gamma": True}
    return GPAW(
        mode=PW(cutoff, dedecut="estimate"),
        xc="PBE",
        kpts=mesh,
        setups={},
        occupations=occupations,
        convergence=settings.CONVERGENCE,
        maxiter=150,
        txt=str(log),
        gpts=grid,
        symmetry={"point_group": is_symmetric(atoms, grid)},
    )


def final(structure: Record, kind: str, atoms: Atoms, moments: Moments, log: Path) -> Record:
    """Energy, forces and stress on the dense mesh, with everything needed to repeat them."""
    density = settings.final_density(structure["n"], structure["x_Al"])
    point = converge(atoms, density, moments, log, None)
    sites, calc, crystal = len(atoms), point.calculator, point.atoms
    forces, stress = crystal.get_forces(), crystal.get_stress()
    return {
        "id": structure["id"],
        "kind": kind,
        "name": structure["name"],
        "n": sites,
        "x_Al": structure["x_Al"],
        "species": structure["species"],
        "cell": crystal.cell.array.tolist(),
        "positions": crystal.positions.tolist(),
        "ideal_cell": structure["cell"],
        "ideal_scaled": structure["scaled"],
        "energy": point.energy,
        "energy_per_atom": point.energy / sites,
        "volume_per_atom": crystal.get_volume() / sites,
        "magmom_per_atom": point.moment / sites,
        "magmoms": point.moments,
        "spin": moments is not None,
        "forces": forces.tolist(),
        "fmax": float(np.abs(forces).max()),
        "stress_GPa": (stress * EV_PER_A3_IN_GPA).tolist(),
        "pressure_GPa": float(-stress[:3].mean() * EV_PER_A3_IN_GPA),
        "kpts_dense": [int(n) for n in calc.wfs.kd.N_c],
        "nibz": len(calc.get_ibz_k_points()),
        "gpts": list(point.grid),
        "niter": int(calc.get_number_of_iterations()),
        "settings": described(density, point.used),
        "converged": bool(calc.scf.converged),
    }


def described(density: float, used: Record) -> Record:
    """The settings as written into each record."""
    return {
        "code": "GPAW 22.8.0 (Debian), gpaw-data 0.9.20000",
        "xc": "PBE",
        "ecut": settings.CUTOFF,
        "ecut_eos": settings.CUTOFF,
        "setups": "default PBE: Ni (16 e), Al (3 e)",
        "dedecut": "estimate",
        "final_used": used,
        "kd_coarse": settings.COARSE,
        "kd_dense": density,
        "conv": settings.CONVERGENCE,
    }


def ideal(structure: Record, volume: float) -> Atoms:
    """Ideal sites at a volume per atom (Å³); the stored cell has cubic parameter 1."""
    cell = np.array(structure["cell"]) * np.cbrt(4 * volume)
    return Atoms(structure["species"], cell=cell, scaled_positions=structure["scaled"], pbc=True)


def start(structure: Record, magnetic: bool) -> Moments:
    """Initial moments (μ_B): ferromagnetic nickel, or None for a calculation without spin."""
    if not magnetic:
        return None
    return [settings.START_MOMENT if s == "Ni" else 0.0 for s in structure["species"]]


def equation_of_state(volumes: list[float], energies: list[float]) -> tuple[float, float, float]:
    """Minimum V₀ (Å³), E₀ (eV) and bulk modulus (GPa) of E = a + b V^(−2/3) + c V^(−4/3).

    Raises:
        RuntimeError: the curve has no minimum.
    """
    curve = np.polyfit(np.array(volumes) ** (-2 / 3), energies, 2)
    if curve[0] <= 0:
        raise RuntimeError(f"the equation of state has no minimum: E = {energies} at V = {volumes}")
    best = -curve[1] / (2 * curve[0])
    volume = best**-1.5
    slope = -2 / 3 * volume ** (-5 / 3)
    bulk_modulus = 2 * curve[0] * slope**2 * volume * EV_PER_A3_IN_GPA
    return float(volume), float(np.polyval(curve, best)), float(bulk_modulus)


def further_scales(best: float, scales: list[float]) -> list[float]:
    """One more lattice parameter where the minimum lies outside those calculated."""
    if best < min(scales) - 0.004:
        return [min(scales) - 0.018]
    if best > max(scales) + 0.004:
        return [max(scales) + 0.018]
    return []


def shape_stretches(before: list[list[float]], after: np.ndarray) -> np.ndarray:
    """Principal stretches of the cell, the volume's taken out."""
    gradient = np.linalg.solve(np.array(before), after)
    stretches = np.sqrt(np.linalg.eigvalsh(gradient @ gradient.T))
    return stretches / np.cbrt(stretches.prod())


def largest_displacement(atoms: Atoms, scaled: list[list[float]]) -> float:
    """Largest distance (Å) of an atom from its ideal site, strain and drift taken out."""
    moved = atoms.get_scaled_positions(wrap=False) - np.array(scaled)
    moved -= np.round(moved)
    moved -= moved.mean(0)
    return float(np.linalg.norm(moved @ atoms.cell.array, axis=1).max())


def append(path: Path, record: Record) -> None:
    """Append one line in one write, on disk before it returns: processes may share the file."""
    line = (json.dumps(record) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
