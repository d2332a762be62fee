"""README's Python block, its commands, and the examples."""

import ast
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from idnn.adsorption.cif import read_cif
from idnn.adsorption.field import host_field
from idnn.adsorption.forcefield import force_field
from idnn.adsorption.guests import guest
from sampling.adsorption.henry import dilute

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def run(*words, cwd=ROOT):
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_python_blocks_are_the_examples_and_under_25_lines():
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    examples = ("ni_al/from_python.py", "robertson.py", "adsorption/predict.py")
    for block, example in zip(blocks, examples, strict=True):
        assert (ROOT / "examples" / example).read_text().endswith(block)
        assert len(block.splitlines()) < 25


def test_the_block_on_stiff_equations_runs():
    finished = run("examples/robertson.py")
    assert finished.returncode == 0, finished.stderr
    assert "torch.Size([16, 50, 3])" in finished.stdout


def test_the_block_on_adsorption_predicts_what_insertion_finds():
    finished = run("examples/adsorption/predict.py")
    assert finished.returncode == 0, finished.stderr
    found = dict(re.findall(r"(\w+) \{'log10_henry': np.float64\(([-\d.]+)\)", finished.stdout))
    silicalite = read_cif(ROOT / "tests/data/adsorption/MFI.cif")
    field = host_field(silicalite, force_field("UFF"), guest("CH4"), spacing=0.4)
    henry = float(dilute(field, temperature=298.0).henry.value)
    assert float(found["MFI"]) == pytest.approx(math.log10(henry), abs=0.1)


def test_the_python_block_runs_from_energies_to_a_report(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    finished = run("examples/ni_al/from_python.py", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "tie-line: ('A1', 'L1_2')" in finished.stdout
    assert (tmp_path / "runs/from_python/report.html").stat().st_size > 100_000
    report = run("-m", "sampling", "report", tmp_path / "runs/from_python", "--json")
    numbers = json.loads(report.stdout)
    # Of 240 sampled; one that does not reach equilibrium is not learned.
    assert 235 <= numbers["n_points"] <= 240
    assert abs(numbers["mass_drift"]) < 1e-12
    assert numbers["energy_never_rose"]


def test_every_command_and_file_in_the_readme_exists():
    for package in re.findall(r"python -m (\w+)", README):
        assert (ROOT / package / "__main__.py").is_file()
    for path in re.findall(r"examples/[\w/]+\.\w+", README):
        assert (ROOT / path).is_file(), path
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`?make (\w+)", README)) <= set(targets)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_examples_are_short_and_documented(path):
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source))
    if not {"dft", "eam", "benchmarks", "pfhub"} & set(path.parts):
        assert len(source.splitlines()) <= 80


def test_results_in_the_readme_are_those_recorded():
    numbers = json.loads((ROOT / "examples/benchmarks/demo.json").read_text())
    for text in (
        f"{numbers['x_gamma']:.4f} ± {numbers['x_gamma_sigma']:.4f}",
        f"{numbers['x_gamma_prime']:.4f} ± {numbers['x_gamma_prime_sigma']:.4f}",
        f"{numbers['n_points']:,} points",
        f"{numbers['cv_rmse_focus_meV']:.1f} meV/atom",
    ):
        assert text in README, text
