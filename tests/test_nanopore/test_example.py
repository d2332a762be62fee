"""The example for users: a table in, files out; tables that cannot be are refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from idnn.nanopore.checkpoint import load_fit

ROOT = Path(__file__).resolve().parents[2]

TABLE = (
    "membrane,feed_Na_mg_per_L,feed_Mg_mg_per_L,feed_Cl_mg_per_L,pressure_bar,R_Na_percent,"
    "R_Mg_percent\nA,100,50,300.07,6,40,90\nA,100,50,300.07,12,55,95\n"
)


def run(folder, table, *options):
    (folder / "table.csv").write_text(table)
    script = str(ROOT / "examples/nanopore.py")
    command = [sys.executable, script, "table.csv", *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
    )  # fmt: skip


def test_a_table_becomes_a_fit_and_a_picture(tmp_path):
    done = run(tmp_path, TABLE, "--by", "Cl")
    assert done.returncode == 0, done.stderr
    fit = load_fit(tmp_path / "nanopore.safetensors")
    assert fit.ions.names == ("Na", "Mg", "Cl")
    assert fit.pores.shape == (16, 1, 4)
    assert (tmp_path / "nanopore.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("300.07", "200", "`feed` must be neutral"),
        ("_Na_", "_Xx_", "'Xx' is not"),
        (",95", ",105", "`rejection` of Mg must be at most 1, where nothing passes; in case 1"),
        (",6,", ",0.06,", "`pressure` must exceed the osmotic one; in case 0 it is 6000 Pa"),
        ("pressure_bar", "pressure_psi", "`flux_L_per_m2_h` must be a column"),
    ],
)
def test_tables_that_cannot_be_are_refused(tmp_path, old, new, message):
    by = () if message.startswith("`feed`") else ("--by", "Cl")
    done = run(tmp_path, TABLE.replace(old, new), *by)
    assert done.returncode == 1
    assert done.stderr.startswith("table.csv: "), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "nanopore.png").exists()
