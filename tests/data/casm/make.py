"""Writes the small CASM basis sets beside this file, with energies that libcasm finds with them.

Needs casm-bset, libcasm-clexulator, libcasm-configuration and g++: python tests/data/casm/make.py
"""

import gzip
import json
import os
import tempfile
from pathlib import Path

import libcasm  # pyright: ignore[reportMissingImports]
import numpy as np

ROOT, HERE = Path(next(iter(libcasm.__path__))), Path(__file__).parent
os.environ |= {
    "CASM_CXX": "g++",
    "CASM_CXXFLAGS": "-O1 -fPIC --std=c++17",
    "CASM_INCLUDEDIR": str(ROOT / "include"),
    "CASM_LIBDIR": str(ROOT / "lib"),
    "CASM_PREFIX": str(ROOT),
    "CASM_SOFLAGS": f"-shared -Wl,--no-as-needed -L{ROOT}/lib -lcasm_clexulator "
    f"-lcasm_crystallography -lcasm_global -Wl,-rpath,{ROOT}/lib",
}

import libcasm.clexulator as clexulator  # noqa: E402 # pyright: ignore[reportMissingImports]
import libcasm.configuration as configuration  # noqa: E402 # pyright: ignore[reportMissingImports]
import libcasm.xtal.prims as prims  # noqa: E402 # pyright: ignore[reportMissingImports]
from casm.bset import (  # noqa: E402 # pyright: ignore[reportMissingImports]
    make_clex_basis_specs,
    write_clexulator,
)

CASES = {
    "fcc-chebychev": (prims.FCC(a=3.56, occ_dof=["Ni", "Al"]), [3.6, 2.6, 2.6], "chebychev"),
    "fcc-occupation": (prims.FCC(a=3.56, occ_dof=["Ni", "Al"]), [3.6, 2.6, 2.6], "occupation"),
    "bcc-occupation": (prims.BCC(a=2.9, occ_dof=["Fe", "Al"]), [4.2, 3.0], "occupation"),
    "hcp-chebychev": (prims.HCP(a=2.9, occ_dof=["Ti", "Al"]), [4.2, 3.0], "chebychev"),
}
random = np.random.default_rng(1)
for name, (crystal, lengths, functions) in CASES.items():
    prim = configuration.Prim(crystal)
    specs = make_clex_basis_specs(
        prim=prim, max_length=[0, 0, *lengths], occ_site_basis_functions_specs=functions
    )
    with tempfile.TemporaryDirectory() as folder:
        source, _, neighbours = write_clexulator(
            prim=prim, clex_basis_specs=specs, bset_dir=folder, project_name="x", verbose=False
        )[:3]
        basis = json.loads((Path(folder) / "basis.json").read_text())
        packed = (Path(folder) / "cluster_functions.json.gz").read_bytes()
        clusters = json.loads(gzip.decompress(packed))
        compiled = clexulator.make_clexulator(str(source), neighbours)
    values = random.normal(0, 0.1, len(basis["orbits"])).round(4).tolist()
    for orbit, value in zip(basis["orbits"], values, strict=True):
        orbit["cluster_functions"][0]["eci"] = value
        orbit["prototype"] = {"sites": orbit["prototype"].get("sites", [])}
    supercell = configuration.Supercell(prim, np.array([[3, 1, 0], [0, 3, -1], [1, 0, 2]]))
    nearby = clexulator.SuperNeighborList(supercell.transformation_matrix_to_super, neighbours)
    coefficients = clexulator.SparseCoefficients(index=list(range(len(values))), value=values)
    states = []
    for _ in range(3):
        state = configuration.Configuration(supercell)
        state.set_occupation(random.integers(0, 2, len(state.occupation)).astype(int))
        expansion = clexulator.ClusterExpansion(nearby, compiled, coefficients, state.dof_values)
        at = [
            supercell.site_index_converter.integral_site_coordinate(i).to_list()
            for i in range(len(state.occupation))
        ]
        states.append(
            {
                "sites": at,
                "occupation": state.occupation.tolist(),
                "energy_per_cell": float(expansion.per_unitcell()),
            }
        )
    content = {
        "eci": {key: basis[key] for key in ("orbits", "prim", "site_functions")},
        "clusters": {"clusters": clusters["clusters"]},
        "transformation": supercell.transformation_matrix_to_super.tolist(),
        "states": states,
    }
    (HERE / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
