"""A campaign small enough to run many times, and what two of them must share."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import torch

from sampling.campaign import STORE, run_campaign
from sampling.settings import read_settings
from sampling.store import Store

ROOT = Path(__file__).parents[1]
ENERGIES = ROOT / "examples" / "ni_al" / "eam" / "energies.jsonl"

SETTINGS = """
title = "Ni–Al, small"
seed = 3
directory = "run"
workers = 2
[energies]
file = "energies.jsonl"
[expansion]
species = ["Ni", "Al"]
lattice_parameter = 3.56
cutoffs = [[3.7, 2.7, 2.7]]
enumerate_up_to = 4
[ensemble]
temperature = 1000.0
composition = [0.01, 0.12]
cells = [3]
stiffness = [3.0, 3.0, 3.0, 3.0]
[monte_carlo]
walkers = 8
sweeps = 120
burn_in = 20
[network]
members = 3
widths = [8]
iterations = 6
[active_learning]
first = 24
batch = 12
rounds = 2
least_rounds = 2
"""
"""Dilute: no ordered phase is in the range, so that looking for tie-lines takes no time."""


def write_settings(folder: Path, *changes: tuple[str, str]) -> Path:
    """campaign.toml and the energies of up to four atoms; each change replaces one passage."""
    text = SETTINGS
    for old, new in changes:
        if old not in text:
            raise ValueError(f"`old` must be in the settings; {old!r} is not.")
        text = text.replace(old, new, 1)
    folder.mkdir(exist_ok=True)
    header, *rows = ENERGIES.read_text().splitlines()
    small = [row for row in rows if len(json.loads(row)["species"]) <= 4]
    (folder / "energies.jsonl").write_text("\n".join([header, *small]) + "\n")
    path = folder / "campaign.toml"
    path.write_text(text)
    return path


def content(directory: Path) -> dict:
    """Everything of a campaign that must not depend on the machine, the hour or a crash."""
    store = Store(directory / STORE)
    labels = {point: dict(label, wall_s=None) for point, label in store.labels().items()}
    found = {"proposals": store.proposals(), "labels": labels, "rounds": store.rounds()}
    store.close()
    models = {p.name: p.read_bytes() for p in sorted(directory.glob("models/*.safetensors"))}
    return found | {"models": models, "model": (directory / "model.safetensors").read_bytes()}


def start(path: Path, *, kill_at: int | None = None, delay: float = 0.0, log: Path | None = None):
    """Run a campaign in a process of its own.

    With `kill_at` it is killed (SIGKILL) `delay` seconds after so many progress reports; `log`
    holds the process ids of its workers.
    """
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_drive, args=(path, kill_at, delay, log))
    process.start()
    return process


def _drive(path: Path, kill_at: int | None, delay: float, log: Path | None) -> None:
    torch.set_num_threads(1)
    reports = 0
    killer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))

    def observe(stage: str, done: int, total: int) -> None:
        nonlocal reports
        reports += 1
        if log is not None:
            log.write_text(" ".join(str(p.pid) for p in multiprocessing.active_children()))
        if reports == kill_at:
            killer.start()

    if kill_at == 0:
        killer.start()
    run_campaign(read_settings(path), observe)


def wait_for(condition, seconds=120.0):
    """Until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
