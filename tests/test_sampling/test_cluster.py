"""Campaigns on Dask clusters: as on one machine, whatever is killed; what is refused, and how."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import campaigns
import dask
import distributed
import pytest
import torch
from campaigns import is_running, wait_for

import sampling.cluster
from idnn.settings import BadSettings
from sampling.__main__ import main
from sampling.campaign import run_campaign
from sampling.cluster import (
    ClusterFailed,
    ClusterTable,
    SlurmTable,
    dask_executor,
    local_cluster,
    slurm_cluster,
)
from sampling.settings import read_settings
from sampling.workers import WorkerDied

ROOT = Path(__file__).resolve().parents[2]
HERE = ClusterTable(executor="dask")
PRELOAD = "sampling.campaign"
PACKAGES = ("scalebridge", "numpy")
SLURM = {"queue": "short", "cores": 1, "memory": "2GB", "walltime": "00:10:00", "jobs": 1}


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine, for all tests that leave them as they were."""
    with local_cluster(2, PRELOAD) as cluster:
        yield cluster


def executor(table=HERE, workers=1):
    return dask_executor(table, workers, preload=PRELOAD, packages=PACKAGES)


def at(cluster):
    return executor(ClusterTable(executor="dask", scheduler=cluster.scheduler_address))


def with_table(text):
    """The change to campaign.toml that adds the table."""
    return "[energies]", f"[cluster]\n{text}\n[energies]"


class Losses(distributed.SchedulerPlugin):
    """Tasks that were lost while a worker had them."""

    name = "losses"

    def __init__(self):
        self.tasks = []

    def transition(self, key, start, finish, *args, **kwargs):
        if start == "processing" and finish not in ("memory", "erred", "forgotten"):
            self.tasks.append(key)


def kill_in_mid_task(cluster, pids, losses):
    """SIGKILL workers that report to be computing, until a task was lost."""
    workers = cluster.scheduler.workers
    while not losses.tasks:
        for worker in [w for w, state in list(workers.items()) if state.executing][:1]:
            os.kill(pids[worker], signal.SIGKILL)
            wait_for(lambda w=worker: w not in workers)
        time.sleep(0.01)


def test_a_worker_killed_in_mid_batch_costs_its_points_a_retry_and_nothing_else(
    finished, cluster, tmp_path
):
    """The campaign ends with the points, weights and tie-line of that on two processes."""
    table = f'executor = "dask"\nscheduler = "{cluster.scheduler_address}"'
    path = campaigns.write_settings(tmp_path / "dask", with_table(table))
    losses, labelled = Losses(), []
    cluster.scheduler.add_plugin(losses)
    with distributed.Client(cluster, set_as_default=False) as client:
        pids = client.run(os.getpid)
    killer = threading.Thread(target=kill_in_mid_task, args=(cluster, pids, losses), daemon=True)

    def observe(stage, done, total):
        if stage == "round 1: sampling":
            labelled.append(done)
            if done == 0:
                killer.start()

    run_campaign(read_settings(path), observe)
    killer.join(60)
    cluster.scheduler.remove_plugin(losses.name)
    assert [is_running(pid) for pid in pids.values()].count(False) == len(losses.tasks) == 1
    assert len(labelled) == 3  # none, and each of two tasks once
    assert labelled[-1] == 24
    assert campaigns.content(path.parent / "run") == campaigns.content(finished)


def test_workers_of_this_machine_have_one_thread_and_leave_ctrl_c_to_their_parent():
    with executor(HERE) as workers:
        assert workers.submit(torch.get_num_threads).result(60) == 1
        assert workers.submit(signal.getsignal, signal.SIGINT).result(60) == signal.SIG_IGN
        assert list(workers.map(pow, (2, 3), (3, 2))) == [8, 9]


def test_a_task_that_kills_every_worker_is_given_up_with_a_remedy(cluster):
    with (
        pytest.raises(WorkerDied, match=r"killed 4 times over the same points.*more memory"),
        at(cluster) as workers,
    ):
        workers.submit(os._exit, 9).result(60)
    wait_for(lambda: len(cluster.scheduler.workers) == 2)  # Dask starts them again


def test_an_error_on_a_worker_is_the_task_s_own(cluster):
    with pytest.raises(ZeroDivisionError), at(cluster) as workers:
        workers.submit(divmod, 1, 0).result(60)
    wait_for(lambda: not cluster.scheduler.tasks)


def test_workers_of_another_version_or_state_of_the_code_refuse(cluster, monkeypatch):
    here = sampling.cluster._computes_with(PACKAGES)
    for name, other in (("scalebridge", "0.0.9"), ("code", "0123456789ab")):
        monkeypatch.setattr("sampling.cluster._computes_with", lambda _: here | {name: other})  # noqa: B023
        message = rf"has {name} {re.escape(here[name])} where the campaign has {other}: install"
        with pytest.raises(ClusterFailed, match=message), at(cluster) as workers:
            workers.submit(os.getpid).result(60)


def test_the_digest_of_the_code_follows_every_module(monkeypatch, tmp_path):
    (tmp_path / "inner").mkdir()
    module = tmp_path / "inner" / "module.py"
    monkeypatch.setattr(sampling, "__path__", [str(tmp_path)])
    digests = []
    for text in ("a = 1", "a = 2"):
        module.write_text(text)
        sampling.cluster._computes_with.cache_clear()
        digests.append(sampling.cluster._computes_with(PACKAGES)["code"])
    sampling.cluster._computes_with.cache_clear()
    assert digests[0] != digests[1]


def test_a_worker_without_scalebridge_is_named(cluster):
    def missing():
        raise ModuleNotFoundError("No module named 'sampling'", name="sampling")

    with (
        pytest.raises(ClusterFailed, match="has no sampling: install there what is installed here"),
        at(cluster) as workers,
    ):
        workers.submit(missing).result(60)


def test_a_lost_scheduler_is_named_with_a_remedy(caplog):
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    address = next(
        found[0] for line in process.stderr if (found := re.findall(r"tcp://[\d.]+:\d+", line))
    )
    threading.Timer(0.5, process.kill).start()
    with (
        pytest.raises(ClusterFailed, match=f"The scheduler at {address} was lost.*start it again"),
        executor(ClusterTable(executor="dask", scheduler=address)) as workers,
    ):
        workers.submit(os.getpid).result(60)
    process.wait()
    process.stderr.close()
    warnings = [r.getMessage() for r in caplog.records if r.name == "sampling.cluster"]
    assert warnings == [f"{address} has no workers yet: points wait for the first."]


def test_a_scheduler_that_does_not_answer_is_named_in_one_line(tmp_path, capsys):
    table = 'executor = "dask"\nscheduler = "tcp://127.0.0.1:9"'
    path = campaigns.write_settings(tmp_path / "lonely", with_table(table))
    with dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}):
        assert main([str(path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `cluster.scheduler`: no scheduler answers at tcp://127.0.0.1:9")
    assert "start one (`dask scheduler`), or correct the address" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("slurm", "absent", "message"),
    [
        (
            None,
            "distributed",
            r"needs distributed, which.*`pip install \"scalebridge\[cluster\]\"`",
        ),
        (SLURM, "dask_jobqueue", r"needs dask_jobqueue.*is not installed: run `pip install"),
        (SLURM, None, r"`cluster\.slurm`: there is no `sbatch` here; run the campaign where jobs"),
    ],
)
def test_what_a_cluster_needs_and_is_not_there_is_named(monkeypatch, slurm, absent, message):
    monkeypatch.setenv("PATH", "")
    if absent is not None:
        monkeypatch.setitem(sys.modules, absent, None)
    with (
        pytest.raises(ClusterFailed, match=message),
        executor(ClusterTable(executor="dask", slurm=slurm)),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = 2", "`cluster.executor` is missing; add it"),
        ('executor = "ray"', "`cluster.executor`: input should be 'dask'; it is 'ray'"),
        ('executor = "dask"\nschedular = "a"', "is not a known key; did you mean `scheduler`?"),
        ('executor = "dask"\nscheduler = "node7"', "`cluster.scheduler`: string should match"),
        (
            'executor = "dask"\nscheduler = "tcp://a:1"\n'
            'slurm = { cores = 1, memory = "2GB", walltime = "00:10:00", jobs = 1 }',
            "`cluster` must name `scheduler` or `slurm`, not both; leave one of them out",
        ),
        (
            'executor = "dask"\nslurm = { cores = 0, memory = "2", walltime = "1h", jobs = 1.5 }',
            "`cluster.slurm.cores`: input should be greater than or equal to 1; it is 0; "
            "`cluster.slurm.memory`: string should match",
        ),
        (
            'executor = "dask"\nslurm = { cores = 1, memory = "2GB", walltime = "1h", jobs = 1.5 }',
            "it is '1h'; `cluster.slurm.jobs`: input should be a valid integer; it is 1.5",
        ),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(tmp_path, text, message):
    path = campaigns.write_settings(tmp_path / "bad", with_table(text))
    with pytest.raises(BadSettings) as refusal:
        read_settings(path)
    assert message in str(refusal.value)


def test_the_address_of_a_scheduler_is_not_stored(tmp_path):
    table = 'executor = "dask"\nscheduler = "tcp://10.0.0.1:8786"'
    settings = read_settings(campaigns.write_settings(tmp_path / "far", with_table(table)))
    assert settings.session("abc")["cluster"] == {"executor": "dask", "slurm": None}
    assert "cluster" not in settings.identity("abc")


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """`sbatch` that runs a job at once and `scancel` that kills it; what was submitted is kept."""
    scripts = {
        "sbatch": 'n=$(ls "$Q" | wc -l); cp "$1" "$Q/$n.job"\n'
        'setsid bash "$Q/$n.job" >/dev/null 2>&1 & echo $! > "$TMPDIR/$n.pid"\n'
        'echo "Submitted batch job $n"',
        "scancel": 'kill -9 -- -$(cat "$TMPDIR/$1.pid")',
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "queue").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("Q", str(tmp_path / "queue"))
    return tmp_path


def test_a_slurm_job_is_one_worker_per_core_that_ends_before_its_walltime(queue):
    settings = SlurmTable(queue="short", cores=4, memory="8GB", walltime="1-02:00:00", jobs=2)
    cluster = slurm_cluster(settings)
    script = cluster.job_script()
    cluster.close()
    for line in ("-p short", "--cpus-per-task=4", "--mem=8G", "-t 1-02:00:00"):
        assert f"#SBATCH {line}\n" in script
    for option in ("--nthreads 1", "--nworkers 4", "--nanny", "--lifetime 84240s"):  # 0.9 of 26 h
        assert option in script


@pytest.mark.slow
def test_points_run_in_jobs_and_a_job_that_ends_is_replaced(queue):
    table = ClusterTable(executor="dask", slurm=SLURM)
    submitted = queue / "queue"
    with executor(table) as workers:
        first = workers.submit(os.getpid).result(120)
        assert is_running(first)
        assert [p.name for p in submitted.iterdir()] == ["0.job"]
        subprocess.run(["scancel", "0"], check=True)
        second = workers.submit(os.getpid).result(120)
        assert second != first
        assert sorted(p.name for p in submitted.iterdir()) == ["0.job", "1.job"]
    wait_for(lambda: not is_running(second), seconds=20)


def test_workers_end_with_a_campaign_that_is_killed():
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from sampling.cluster import ClusterTable, dask_executor\n"
        "table = ClusterTable(executor='dask')\n"
        "if __name__ == '__main__':\n"
        "    with dask_executor(table, 1, preload='sampling.workers', packages=()) as workers:\n"
        "        print(workers.submit(os.getpid).result(60), flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    wait_for(lambda: not is_running(pid), seconds=10)
