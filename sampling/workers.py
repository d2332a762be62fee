"""The processes that sample and train: they ignore Ctrl-C and end with their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait

import torch

from idnn.runtime import keep_freed_memory


class WorkerDied(RuntimeError):
    """A worker process was killed from outside."""


@contextmanager
def pool(workers: int, preload: str) -> Iterator[Executor]:
    """Worker processes that end with their parent, however it ends.

    Args:
        workers: how many.
        preload: module imported once, before the workers are forked, instead of in each of them.

    Raises:
        WorkerDied: one of them was killed from outside.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start)
    try:
        yield executor
    except BrokenProcessPool as error:
        raise WorkerDied(
            f"One of the {workers} `workers` was killed, probably for lack of memory; what was "
            "sampled is stored: free memory or lower `workers`, and run the same command again."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    keep_freed_memory()
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
