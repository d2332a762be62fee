"""Worker processes: what they inherit, and how they end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from campaigns import is_running, wait_for

from sampling.workers import WorkerDied, pool

ROOT = Path(__file__).resolve().parents[2]


def test_workers_compute_on_one_thread_and_leave_ctrl_c_to_their_parent():
    with pool(2, preload="sampling.workers") as executor:
        assert executor.submit(torch.get_num_threads).result(60) == 1
        assert executor.submit(signal.getsignal, signal.SIGINT).result(60) == signal.SIG_IGN


def test_a_killed_worker_is_named_with_a_remedy():
    with (
        pytest.raises(WorkerDied, match=r"One of the 2 `workers` was killed.*lower `workers`"),
        pool(2, preload="sampling.workers") as executor,
    ):
        executor.submit(os._exit, 9).result(60)


def test_workers_end_with_a_parent_that_is_killed():
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from sampling.workers import pool\n"
        "if __name__ == '__main__':\n"
        "    with pool(1, preload='sampling.workers') as executor:\n"
        "        print(executor.submit(os.getpid).result(60), flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    wait_for(lambda: not is_running(pid), seconds=10)
