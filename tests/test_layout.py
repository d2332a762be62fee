"""The packages depend one way, import lightly, touch nothing on import, and never unpickle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("idnn", "sampling", "phasefield")
HEAVY = {"pymatgen", "pycalphad", "icet", "numba", "zarr", "xarray", "pydantic", "matplotlib"}
UNSAFE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
SOLVERS = (
    *(f"idnn.{m}" for m in ("checks", "data", "descent", "ensemble", "equilibrium", "files")),
    *(f"idnn.{m}" for m in ("free_energy", "network", "order_parameters", "train", "units")),
    "idnn.nanopore",
    "idnn.ode",
    "idnn.ode.problems",
    "idnn.wells",
    *(f"phasefield.{m}" for m in ("adaptive", "grid", "initial", "integrators", "models")),
    *(f"phasefield.{m}" for m in ("observe", "solve")),
)
"""What a GPU node with torch, numpy and jaxtyping alone can run."""

ABSENT = HEAVY | {"scipy", "safetensors", "ase", "jinja2", "tqdm", "pandas", "beartype"}


def trees(package):
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """Full names of all modules imported anywhere in a file, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


def top_level(tree):
    return {name.split(".")[0] for name in imported(tree)}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("idnn", {"sampling", "phasefield"}),
        ("sampling", {"phasefield"}),
        ("phasefield", {"sampling"}),
    ],
)
def test_imports_point_one_way(package, forbidden):
    found = [str(path) for path, tree in trees(package) if top_level(tree) & forbidden]
    assert found == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_can_execute_what_it_reads(package):
    for path, tree in trees(package):
        assert not top_level(tree) & UNSAFE, path
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not called & {"torch.load", "torch.save", "eval", "exec", "yaml.load"}, path
        keywords = (
            k for node in ast.walk(tree) if isinstance(node, ast.Call) for k in node.keywords
        )
        allowed = [
            k for k in keywords if k.arg == "allow_pickle" and ast.unparse(k.value) != "False"
        ]
        assert not allowed, path


@pytest.mark.parametrize("package", PACKAGES)
def test_library_code_does_not_print(package):
    for path, tree in trees(package):
        calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert path.name == "__main__.py" or "print" not in names, path


def run(code, folder):
    """Run in a fresh interpreter in an empty folder; its output must be the wanted one alone."""
    command = [
        sys.executable,
        "-B",
        "-W",
        "error",
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(folder.iterdir()) == [], "importing must create no file"
    return done.stdout


def test_importing_the_packages_loads_nothing_heavy(tmp_path):
    code = f"import {', '.join(PACKAGES)}\nprint(sorted({HEAVY} & sys.modules.keys()))"
    assert run(code, tmp_path) == "[]\n"


def test_the_solvers_need_torch_numpy_and_jaxtyping_alone(tmp_path):
    blocked = f"sys.modules.update(dict.fromkeys({sorted(ABSENT)}))"
    code = f"{blocked}\nimport {', '.join(SOLVERS)}"
    assert run(code, tmp_path) == ""


def test_a_benchmark_of_its_name_does_not_hide_the_package(tmp_path):
    """A script's folder comes first on the path of imports."""
    folder = ROOT / "examples/benchmarks"
    code = f"sys.path.insert(0, {str(folder)!r})\nfrom phasefield.grid import Grid\n"
    assert run(code + "print(Grid.__module__, sys.modules['phasefield'].__file__)", tmp_path) == (
        f"phasefield.grid {ROOT / 'phasefield/__init__.py'}\n"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_longer_than_400_lines(package):
    long = [str(p) for p in (ROOT / package).rglob("*.py") if len(p.read_text().splitlines()) > 400]
    assert long == []
