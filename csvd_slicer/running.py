"""Long computations beside Slicer's main thread, on plain arrays. No Qt here: the panel brings a timer that polls.

A thread never touches MRML or Qt. It gets arrays, says how far it is and is asked to stop; what it found, or the
sentence of its error, is handed over on the main thread by `Runner.poll`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from csvd.errors import Cancelled, CsvdError

INTERVAL_MS = 10
# Slicer's main thread may hold the interpreter while Qt is idle, so that threads get on only while Python sleeps there.
# A choice: the thread gets more than half of the time, and a mouse waits for a fiftieth of a second.
YIELD_S = 0.02

Compute = Callable[..., Any]  # of progress(0..1, step) and cancelled() -> bool, as keywords


class Timer(Protocol):
    """What of a QTimer is used; it must call `Runner.poll`."""

    def start(self, milliseconds: int) -> None: ...
    def stop(self) -> None: ...


class Runner:
    """Runs one computation at a time and reports on the main thread.

    Args:
        timer: calls `poll` every so often between `start` and `stop`.
        done: called with what the computation returned.
        failed: called with one sentence for the user.
        progressed: called with the share done (0 to 1), the step, and the seconds since the start, when they change.
    """

    def __init__(
        self,
        timer: Timer,
        done: Callable[[Any], None],
        failed: Callable[[str], None],
        progressed: Callable[[float, str, float], None] = lambda share, step, seconds: None,
    ):
        self._timer, self._done, self._failed, self._progressed = timer, done, failed, progressed
        self._job: _Job | None = None

    @property
    def running(self) -> bool:
        return self._job is not None

    def start(self, compute: Compute) -> None:
        """Begin; what was running is cancelled."""
        self.cancel()
        self._job = _Job(compute)
        self._timer.start(INTERVAL_MS)

    def cancel(self) -> None:
        """Forget the computation at once: nothing of it will be reported. Its thread ends when it next asks."""
        self._timer.stop()
        if self._job is not None:
            self._job.cancel.set()
            self._job = None

    def poll(self) -> None:
        """Hand over what is new. To be called on the main thread."""
        job = self._job
        if job is None:
            return
        ended = job.ended.wait(YIELD_S)
        for news in job.take_news():
            self._progressed(*news)
        if not ended or job is not self._job:  # a listener may have cancelled
            return
        self.cancel()
        if job.error is None:
            self._done(job.outcome)
        elif not isinstance(job.error, Cancelled):
            self._failed(sentence(job.error))


class _Job:
    """One computation and its thread."""

    def __init__(self, compute: Compute):
        self.cancel, self.ended = threading.Event(), threading.Event()
        self.outcome: Any = None
        self.error: BaseException | None = None
        self._started, self._news, self._lock = time.monotonic(), {}, threading.Lock()
        threading.Thread(target=self._work, args=(compute,), name="csvd", daemon=True).start()

    def take_news(self) -> list[tuple[float, str, float]]:
        """The newest progress of each step since the last call."""
        with self._lock:
            news, self._news = self._news, {}
        return list(news.values())

    def _work(self, compute: Compute) -> None:
        try:
            self.outcome = compute(progress=self._tell, cancelled=self.cancel.is_set)
        except BaseException as error:  # in a thread it would be printed and lost; who waits raises it
            self.error = error
        self.ended.set()

    def _tell(self, share: float, step: str) -> None:
        with self._lock:
            self._news[step] = (share, step, time.monotonic() - self._started)


def sentence(error: BaseException) -> str:
    """What to tell the user; whatever `csvd` did not foresee goes to the log as well."""
    if isinstance(error, CsvdError):
        return str(error)
    logging.error("Unexpected error", exc_info=error)
    if isinstance(error, MemoryError):
        return "The computer ran out of memory: close other programs or volumes, and try again."
    if isinstance(error, ImportError):
        return f"A Python package is missing or broken ({error}): install it and restart Slicer."
    return f"Unexpected error ({type(error).__name__}: {error}). The error log has the details; please report it."
