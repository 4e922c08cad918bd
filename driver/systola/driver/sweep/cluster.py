"""Workers on other machines: a Dask cluster. Needs the extra ``cluster``."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import distributed

from systola.driver.sweep.workers import WorkerDiedError, WorkersLostError, answer
from systola.hw.errors import ToolError

__all__ = ["DaskExecutor"]

CONNECT_SECONDS = 20
CALLS_PER_THREAD = 2
COUNT_SECONDS = 5.0


def _knock(address: str) -> None:
    """Raises OSError or ValueError where nothing listens: Dask's client tries for long, and leaves noise behind."""
    host_and_port = distributed.comm.get_address_host_port(address, strict=True)
    with socket.create_connection(host_and_port, CONNECT_SECONDS):
        pass


class DaskExecutor:
    """The workers of a Dask scheduler. One that dies is the scheduler's to notice: it gives its calls to others."""

    def __init__(self, address: str) -> None:
        try:
            _knock(address)
            self._client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
            self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise ToolError(
                f"there is no Dask scheduler with workers at {address}: {error}; start them with 'dask scheduler' and, on every "
                "machine, 'dask worker ADDRESS'"
            ) from error
        self.name = f"cluster {address}"
        self._threads, self._counted = 1, -math.inf

    @property
    def capacity(self) -> int:
        """See ``Executor``; follows the cluster's size."""
        if time.monotonic() > self._counted + COUNT_SECONDS:
            self._threads = max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return CALLS_PER_THREAD * self._threads

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """See ``Executor``."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        remote = self._client.submit(answer, function, *arguments, pure=False)
        remote.add_done_callback(lambda done: self._resolve(done, future))
        return future

    def close(self) -> None:
        """See ``Executor``. The cluster goes on; what it has not computed of this sweep is cancelled."""
        self._client.close()

    def _resolve(self, remote: Any, future: Future[Any]) -> None:
        """The local future gets what the remote one has."""
        try:
            result, error = remote.result()
        except distributed.KilledWorker as killed:
            error = WorkerDiedError(f"every worker of the cluster that computed it died: {killed}")
        except CancelledError:
            error = WorkersLostError("the cluster was lost: run the same command again to go on")
        except Exception as other:
            error = WorkersLostError(f"the cluster failed: {type(other).__name__}: {other}")
        finally:
            remote.release()
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
