"""Points labelled beyond one machine: a Dask cluster behind the executor of a campaign."""

from __future__ import annotations

import hashlib
import logging
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar

import torch
from pydantic import Field, model_validator

import idnn
import sampling
from idnn.runtime import keep_freed_memory
from idnn.settings import Table
from sampling.workers import WorkerDied

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster
    from distributed import Client, LocalCluster

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Count = Annotated[int, Field(ge=1, strict=True)]

GRACE = 0.9
"""Share of a job's walltime after which its workers hand their points to others and end."""

CODE = "code"
"""Name of the digest of our own modules, since two checkouts may call themselves one version."""


class ClusterFailed(RuntimeError):
    """The cluster cannot be reached, was lost, or computes with something else."""


class SlurmTable(Table):
    """[cluster.slurm]: what each job asks of the queue.

    All else (account, network interface, lines before the worker starts) comes from the
    configuration of dask-jobqueue, `jobqueue.yaml`.
    """

    queue: str | None = None
    """Partition; by default that of the site."""
    cores: Count
    """Per job; each runs one worker process."""
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$")]
    """Per job, such as "16GB"."""
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d+:[0-5]\d:[0-5]\d$")]
    """Per job, such as "04:00:00" or "1-00:00:00"; a job that ends is replaced by another."""
    jobs: Count
    """Kept in the queue, or running, until the campaign ends."""

    @property
    def seconds(self) -> int:
        """The walltime."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


class ClusterTable(Table):
    """[cluster]: who samples and trains in place of processes of this machine.

    Without `scheduler` and `slurm`: a Dask cluster of `workers` processes on this machine.
    """

    executor: Literal["dask"]
    scheduler: Annotated[str, Field(pattern=r"^(tcp|tls)://.+:\d+$")] | None = None
    """Address of a running scheduler, such as "tcp://10.0.0.1:8786", used with the workers it has
    or will have; they should run one thread each (`--nthreads 1`)."""
    slurm: SlurmTable | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ClusterTable:
        if self.scheduler is not None and self.slurm is not None:
            raise ValueError(
                "`cluster` must name `scheduler` or `slurm`, not both; leave one of them out"
            )
        return self


@contextmanager
def dask_executor(
    settings: ClusterTable, workers: int, *, preload: str, packages: Sequence[str]
) -> Iterator[Executor]:
    """An executor over a Dask cluster.

    What a killed worker had under way is run again by another, `allowed-failures` times (Dask's
    configuration; 3). A worker that computes with other versions, or with another state of the
    code than this process, refuses every task. Results then equal those of one machine; processors
    of different kinds may still differ in the last bits.

    Args:
        settings: where.
        workers: processes of a cluster on this machine.
        preload: module imported once, before those are forked, instead of in each of them.
        packages: whose versions must agree.

    Raises:
        ClusterFailed: Dask is not installed, the scheduler cannot be reached or was lost, or a
            worker computes with something else.
        WorkerDied: workers were killed again and again over one task.
    """
    with ExitStack() as stack:
        try:
            client = stack.enter_context(_client(settings, workers, preload, stack))
        except ModuleNotFoundError as error:
            raise ClusterFailed(
                f"`cluster` needs {error.name}, which is not installed: run "
                '`pip install "scalebridge[cluster]"`, or leave [cluster] out.'
            ) from error
        with _errors_explained(client, packages):
            yield _Checked(client.get_executor(pure=False), _computes_with(tuple(packages)))


def _client(settings: ClusterTable, workers: int, preload: str, stack: ExitStack) -> Client:
    """A client of the cluster that the settings name; `stack` ends what is begun here."""
    from distributed import Client

    if settings.slurm is not None:
        cluster = stack.enter_context(closing(slurm_cluster(settings.slurm)))
    elif settings.scheduler is None:
        cluster = stack.enter_context(local_cluster(workers, preload))
    else:
        cluster = settings.scheduler
    try:
        client = Client(cluster, set_as_default=False)
    except OSError as error:
        raise ClusterFailed(
            f"`cluster.scheduler`: no scheduler answers at {settings.scheduler} ({error}); start "
            "one (`dask scheduler`), or correct the address."
        ) from error
    if settings.scheduler is not None and not client.nthreads():
        logger.warning("%s has no workers yet: points wait for the first.", settings.scheduler)
    return client


@contextmanager
def local_cluster(workers: int, preload: str) -> Iterator[LocalCluster]:
    """A Dask cluster on this machine, its processes forked after `preload` is imported.

    Raises:
        ModuleNotFoundError: Dask is not installed.
    """
    from dask import config
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    with config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(["distributed", preload])
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",  # any port: another campaign may run here
            preload=[__name__],
        )
        with closing(cluster):
            yield cluster


def slurm_cluster(settings: SlurmTable) -> SLURMCluster:
    """A Dask cluster whose workers are jobs of a SLURM queue, and whose scheduler is here.

    Raises:
        ClusterFailed: jobs cannot be submitted from this machine.
        ModuleNotFoundError: dask-jobqueue is not installed.
    """
    from dask_jobqueue.slurm import SLURMCluster

    if shutil.which(SLURMCluster.job_cls.submit_command) is None:
        raise ClusterFailed(
            "`cluster.slurm`: there is no `sbatch` here; run the campaign where jobs are "
            "submitted, or name the `scheduler` of a running cluster."
        )
    cluster = SLURMCluster(
        queue=settings.queue,
        cores=settings.cores,
        processes=settings.cores,
        memory=settings.memory,
        walltime=settings.walltime,
        worker_extra_args=["--lifetime", f"{round(GRACE * settings.seconds)}s"],
        scheduler_options={"dashboard_address": ":0"},
    )
    # Unlike `scale`, this replaces jobs that end.
    cluster.adapt(minimum_jobs=settings.jobs, maximum_jobs=settings.jobs)
    return cluster


@contextmanager
def _errors_explained(client: Client, packages: Sequence[str]) -> Iterator[None]:
    """What Dask raises, as errors that say what to do."""
    from distributed import KilledWorker

    address = client.scheduler.address if client.scheduler is not None else "?"
    try:
        yield
    except KilledWorker as error:
        raise WorkerDied(
            f"Workers of the cluster were killed {error.allowed_failures + 1} times over the same "
            "points, probably for lack of memory; what was sampled is stored: give each worker "
            "more memory, and run the same command again."
        ) from error
    except CancelledError as error:
        raise ClusterFailed(
            f"The scheduler at {address} was lost; what was sampled is stored: start it again, and "
            "run the same command again."
        ) from error
    except ModuleNotFoundError as error:
        if error.name not in ("idnn", "sampling", *packages):
            raise
        raise ClusterFailed(
            f"A worker of the cluster has no {error.name}: install there what is installed here, "
            "restart the workers, and run the same command again."
        ) from error


def dask_setup(_: object) -> None:
    """Called by Dask in each worker process of this machine: Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True, eq=False)
class _Checked(Executor):
    """Runs functions on workers that compute with what is `expected`; others refuse."""

    inner: Executor
    expected: dict[str, str]

    def submit(
        self,
        fn: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Future[Result]:
        from distributed.protocol.pickle import dumps

        # Bytes, opened after the check: another state of the code may not be able to read them.
        return self.inner.submit(_run, self.expected, dumps((fn, args, kwargs)))


def _run(expected: dict[str, str], call: bytes) -> Any:  # noqa: ANN401
    from distributed.protocol.pickle import loads

    found = _computes_with(tuple(name for name in expected if name != CODE))
    different = [
        f"{name} {found[name]} where the campaign has {value}"
        for name, value in expected.items()
        if found[name] != value
    ]
    if different:
        raise ClusterFailed(
            f"The worker on {socket.gethostname()} has {', '.join(different)}: install the same "
            "there, restart the workers, and run the same command again."
        )
    torch.set_num_threads(1)
    keep_freed_memory()
    function, args, kwargs = loads(call)
    return function(*args, **kwargs)


@cache
def _computes_with(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions, and a digest of the code as this process found it when it began."""
    digest = hashlib.sha256()
    for package in (idnn, sampling):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return {name: version(name) for name in packages} | {CODE: digest.hexdigest()[:12]}
