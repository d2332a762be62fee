"""Attempted flips per CPU-second of other codes on the benchmark's model, where they are installed.

The model is `illustrative_expansion`: fcc, pairs to the fourth shell, nearest-neighbour triangle
and tetrahedron. All run the semi-grand canonical ensemble at Δμ = 0 from a quarter of random Al.

    python examples/benchmarks/peers.py

adds the rates of the codes in this environment to `results/peers.json`.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LATTICE_CONSTANT = 3.56
CUTOFFS = (5.1, 2.6, 2.6)


def update(path: Path, cells: int = 10, temperature: float = 1200.0) -> dict[str, dict]:
    """Time the installed codes, keep what the file holds of the others, and say which these are."""
    measures = {
        "icet": ("mchammer", _icet),
        "smol": ("smol", _smol),
        "casm": ("libcasm.clexmonte", _casm),
    }
    rates = json.loads(path.read_text()) if path.exists() else {}
    for name, (module, measure) in measures.items():
        if _installed(module):
            rates[name] = measure(cells, temperature)
        else:
            print(f"{name} is not installed; kept from before: {rates.get(name)}")
    path.write_text(json.dumps(rates, indent=1) + "\n")
    return rates


def _installed(module: str) -> bool:
    parent = module.split(".")[0]
    return find_spec(parent) is not None and find_spec(module) is not None


def _rate(run: Callable[[int], object], attempts: int, repeats: int = 3) -> float:
    """Attempts per CPU-second, the best of a few timings."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run(attempts)
        seconds.append(time.process_time() - start)
    return float(f"{attempts / min(seconds):.3g}")


def _quarter(sites: int) -> np.ndarray:
    return np.random.default_rng(0).random(sites) < 0.25


def _icet(cells: int, temperature: float) -> dict[str, float | str]:
    from ase.build import bulk
    from icet import ClusterExpansion, ClusterSpace
    from mchammer.calculators import ClusterExpansionCalculator
    from mchammer.ensembles import SemiGrandCanonicalEnsemble, VCSGCEnsemble

    from sampling.clusters import illustrative_expansion, quiet_spglib

    with quiet_spglib():
        space = ClusterSpace(bulk("Ni", "fcc", a=LATTICE_CONSTANT), list(CUTOFFS), ["Ni", "Al"])
        multiplicity = space.to_dataframe()["multiplicity"].to_numpy()
        expansion = ClusterExpansion(space, illustrative_expansion().eci * multiplicity)
        box = bulk("Ni", "fcc", a=LATTICE_CONSTANT, cubic=True).repeat(cells)
        box.set_chemical_symbols(np.where(_quarter(len(box)), "Al", "Ni").tolist())
        calculator = ClusterExpansionCalculator(box, expansion)
    silent = {
        "ensemble_data_write_interval": 10**9,
        "trajectory_write_interval": 10**9,
        "random_seed": 1,
        "temperature": temperature,
        "calculator": calculator,
    }
    semi_grand = SemiGrandCanonicalEnsemble(
        box, chemical_potentials={"Ni": 0.0, "Al": 0.0}, **silent
    )
    biased = VCSGCEnsemble(box, phis={"Al": -0.5}, kappa=200.0, **silent)
    return {
        "version": version("icet"),
        "flips_per_cpu_s": _rate(semi_grand.run, 5000),
        "biased_flips_per_cpu_s": _rate(biased.run, 500),
    }


def _smol(cells: int, temperature: float) -> dict[str, float | str]:
    from pymatgen.core import Lattice, Structure
    from smol.cofe import ClusterExpansion, ClusterSubspace  # pyright: ignore[reportMissingImports]
    from smol.moca import Ensemble, Sampler  # pyright: ignore[reportMissingImports]

    from sampling.clusters import illustrative_expansion

    half = LATTICE_CONSTANT / 2
    primitive = Structure(
        Lattice([[0, half, half], [half, 0, half], [half, half, 0]]),
        [{"Ni": 0.75, "Al": 0.25}],
        [[0, 0, 0]],
    )
    orders = dict(enumerate(CUTOFFS, start=2))
    space = ClusterSubspace.from_cutoffs(
        primitive, cutoffs=orders, basis="sinusoid", supercell_size="volume"
    )
    multiplicity = np.array([1, *(orbit.multiplicity for orbit in space.orbits)])
    expansion = ClusterExpansion(space, illustrative_expansion().eci * multiplicity)
    cubic = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    ensemble = Ensemble.from_cluster_expansion(
        expansion, cells * cubic, processor_type="decomposition"
    )
    ensemble.chemical_potentials = {"Ni": 0.0, "Al": 0.0}
    sampler = Sampler.from_ensemble(
        ensemble, temperature=temperature, step_type="flip", nwalkers=1, seeds=[1]
    )
    occupation = _quarter(ensemble.num_sites).astype(np.int32)[None]
    sampler.run(500, occupation, thin_by=500, progress=False)
    rate = _rate(lambda n: sampler.run(n, thin_by=n, progress=False), 5000)
    return {"version": version("smol"), "flips_per_cpu_s": rate}


def _casm(cells: int, temperature: float) -> dict[str, float | str]:
    """One pass of CASM attempts one flip per site; its basis functions are compiled with g++."""
    import libcasm  # pyright: ignore[reportMissingImports]

    root = Path(next(iter(libcasm.__path__)))
    os.environ |= {
        "CASM_CXX": "g++",
        "CASM_CXXFLAGS": "-O3 -Wall -fPIC --std=c++17",
        "CASM_INCLUDEDIR": str(root / "include"),
        "CASM_LIBDIR": str(root / "lib"),
        "CASM_PREFIX": str(root),
        "CASM_SOFLAGS": f"-shared -Wl,--no-as-needed -L{root}/lib -lcasm_clexulator "
        f"-lcasm_crystallography -lcasm_global -Wl,-rpath,{root}/lib",
    }
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        return _casm_in(Path(folder), cells, temperature)


def _casm_in(folder: Path, cells: int, temperature: float) -> dict[str, float | str]:
    import libcasm.clexmonte as clexmonte  # pyright: ignore[reportMissingImports]
    import libcasm.composition as composition  # pyright: ignore[reportMissingImports]
    import libcasm.configuration as configuration  # pyright: ignore[reportMissingImports]
    import libcasm.monte as monte  # pyright: ignore[reportMissingImports]
    import libcasm.xtal.prims as prims  # pyright: ignore[reportMissingImports]
    from casm.bset import (  # pyright: ignore[reportMissingImports]
        make_clex_basis_specs,
        write_clexulator,
    )

    prim = configuration.Prim(prims.FCC(a=LATTICE_CONSTANT, occ_dof=["Ni", "Al"]))
    specs = make_clex_basis_specs(
        prim=prim, max_length=[0, 0, *CUTOFFS], occ_site_basis_functions_specs="chebychev"
    )
    source, *_ = write_clexulator(
        prim=prim, clex_basis_specs=specs, bset_dir=folder, project_name="bench", verbose=False
    )
    basis = json.loads((folder / "basis.json").read_text())
    interactions = [0.0, 0.0, 0.025, -0.010, 0.002, -0.001, 0.004, -0.003]
    for orbit, interaction in zip(basis["orbits"], interactions, strict=True):
        for function in orbit["cluster_functions"]:
            function["eci"] = interaction * orbit["mult"]
    (folder / "eci.json").write_text(json.dumps(basis))
    axes = composition.CompositionConverter(["Ni", "Al"], np.eye(2))
    system = clexmonte.System.from_dict(
        {
            "prim": prim.xtal_prim.to_dict(),
            "composition_axes": axes.to_dict(),
            "basis_sets": {"default": {"source": str(source)}},
            "clex": {"formation_energy": {"basis_set": "default", "coefficients": "eci.json"}},
        },
        search_path=[str(folder)],
    )
    cubic = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    start = system.make_default_configuration(transformation_matrix_to_super=cells * cubic)
    sites = len(start.occupation)
    start.set_occupation(_quarter(sites).astype(int))
    state = clexmonte.MonteCarloState(
        configuration=start, conditions={"temperature": temperature, "param_chem_pot": [0.0]}
    )
    calculator = clexmonte.MonteCalculator(method="semigrand_canonical", system=system)
    passes = 20
    fixture = calculator.make_default_sampling_fixture_params(
        label="thermo", output_dir=str(folder / "out"), write_observations=False
    )
    fixture.clear_cutoffs()
    fixture.set_max_count(passes)
    for quantity in ("potential_energy", "param_composition"):
        fixture.do_not_converge(quantity)
    fixture.sample_by_pass(period=passes)

    def run(_: int) -> None:
        calculator.run_fixture(
            state=state, sampling_fixture_params=fixture, engine=monte.RandomNumberEngine()
        )

    return {
        "version": version("libcasm-clexmonte"),
        "flips_per_cpu_s": _rate(run, passes * sites, repeats=5),
    }


if __name__ == "__main__":
    print(json.dumps(update(Path(__file__).parent / "results" / "peers.json")))
