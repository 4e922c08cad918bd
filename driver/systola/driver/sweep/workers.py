"""Processes on this machine that compute; and what every way of computing looks like to a sweep."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from systola.hw.errors import SystolaError, ToolError

__all__ = ["Executor", "WorkerDiedError", "WorkerPool", "WorkersLostError", "answer"]

ATTEMPTS = 2
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""One each: there is a process for every core already."""


class WorkerDiedError(ToolError):
    """A worker process ended before it had an answer, every time that it was asked."""


class WorkersLostError(ToolError):
    """There are no workers any more: nothing is said about the call."""


class Executor(Protocol):
    """Computes calls elsewhere. ``name``: for the record; ``capacity``: calls that keep all of it busy."""

    @property
    def name(self) -> str: ...

    @property
    def capacity(self) -> int: ...

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call ``function``, which workers must be able to import.

        The future raises the SystolaError that it raised, ToolError for another, WorkerDiedError or WorkersLostError.
        """
        ...

    def close(self) -> None:
        """End the workers; what has not been computed is cancelled."""
        ...


class WorkerPool:
    """Worker processes of this machine. One that dies is replaced, and its call made once more.

    A thread for each process hands it calls one by one. Processes end when this one does, however that happens: their end of
    the pipe closes.
    """

    def __init__(self, workers: int) -> None:
        self.name = f"{workers} processes"
        self.capacity = 2 * workers  # one in hand and one waiting for each
        self._calls: queue.SimpleQueue[tuple[Future[Any], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._context = multiprocessing.get_context("spawn")
        self._closing = threading.Event()
        self._starting = threading.Lock()
        self._processes: dict[int, BaseProcess] = {}
        self._threads = [threading.Thread(target=self._serve, args=(number,), daemon=True) for number in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """See ``Executor``."""
        future: Future[Any] = Future()
        self._calls.put((future, (function, *arguments)))
        return future

    def close(self) -> None:
        """See ``Executor``."""
        with self._starting:
            self._closing.set()
            for process in self._processes.values():
                process.terminate()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, number: int) -> None:
        """Hand calls to one process, until there are no more."""
        connection: Connection | None = None
        while (item := self._calls.get()) is not None:
            future, call = item
            if self._closing.is_set() or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            connection = self._answer(number, connection, future, call)
        if connection is not None:
            connection.close()
        if number in self._processes:
            self._processes[number].join()

    def _answer(
        self, number: int, connection: Connection | None, future: Future[Any], call: tuple[Any, ...]
    ) -> Connection | None:
        """Resolve a future. Returns the connection to use from now on."""
        for _ in range(ATTEMPTS):
            try:
                connection = connection or self._start(number)
                connection.send(call)
                result, error = connection.recv()
            except (EOFError, OSError):  # the process is gone
                if connection is not None:
                    connection.close()
                connection = None
            except Exception as error:  # the call or its answer cannot be sent
                future.set_exception(ToolError(f"a worker cannot be asked: {type(error).__name__}: {error}"))
                return connection
            else:
                future.set_result(result) if error is None else future.set_exception(error)
                return connection
            if self._closing.is_set():
                break
        future.set_exception(CancelledError() if self._closing.is_set() else WorkerDiedError(self._how_it_ended(number)))
        return None

    def _start(self, number: int) -> Connection:
        """A new process. Raises OSError if there are to be no more."""
        with self._starting:
            if self._closing.is_set():
                raise OSError
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_work, args=(theirs,), daemon=True)
            with _single_threaded():
                process.start()
            theirs.close()  # so that the pipe ends when the process does
            self._processes[number] = process
            return ours

    def _how_it_ended(self, number: int) -> str:
        process = self._processes[number]
        process.join()
        code = process.exitcode or 0
        how = f"was killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with status {code}"
        return f"the worker process {how}, {ATTEMPTS} times: perhaps there is not enough memory for so many workers"


@contextmanager
def _single_threaded() -> Iterator[None]:
    """The environment for processes that use one core each."""
    before = {name: os.environ.get(name) for name in BLAS_THREADS}
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection) -> None:
    """A worker's life: answer calls until the pipe ends. ^C is for the parent, which ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        while True:
            function, *arguments = connection.recv()
            connection.send(answer(function, *arguments))


def answer(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Exception | None]:
    """(result, error) of a call: an error that is not Systola's as its text, since not every error can be sent."""
    try:
        return function(*arguments), None
    except SystolaError as error:
        return None, error
    except Exception as error:
        return None, ToolError(f"a worker failed: {type(error).__name__}: {error}")
