import threading
import time

import pytest

from csvd.errors import Cancelled, InputError
from csvd_slicer.running import YIELD_S, Runner, sentence


class Timer:
    active = False

    def start(self, milliseconds):
        self.active = True

    def stop(self):
        self.active = False


class Listener:
    def __init__(self):
        self.timer, self.results, self.errors, self.news, self.thread = Timer(), [], [], [], set()
        self.runner = Runner(self.timer, self.results.append, self.errors.append, self.progressed)

    def progressed(self, share, step, seconds):
        self.thread.add(threading.current_thread())
        self.news.append((share, step))

    def turn(self, seconds=5.0):
        """What Qt does until the timer stops."""
        end = time.monotonic() + seconds
        while self.timer.active and time.monotonic() < end:
            self.runner.poll()


@pytest.fixture
def listener():
    return Listener()


def forever(progress, cancelled):
    while not cancelled():
        time.sleep(0.001)
    raise Cancelled("cancelled")


def test_result_and_progress_arrive_on_the_main_thread(listener):
    threads = []

    def compute(progress, cancelled):
        threads.append(threading.current_thread())
        progress(0.2, "a")
        progress(0.5, "a")
        progress(0.9, "b")
        return 42

    listener.runner.start(compute)
    assert listener.runner.running
    listener.turn()
    assert (listener.results, listener.errors) == ([42], [])
    assert listener.news[-2:] == [(0.5, "a"), (0.9, "b")]
    assert listener.thread == {threading.current_thread()}
    assert threads[0] is not threading.current_thread()
    assert not listener.runner.running


def test_cancel_is_at_once_and_nothing_is_reported(listener):
    listener.runner.start(forever)
    listener.runner.poll()
    job = listener.runner._job
    listener.runner.cancel()
    assert not listener.timer.active
    assert not listener.runner.running
    listener.runner.poll()
    assert job.ended.wait(1)
    assert listener.results == listener.errors == []


def test_a_result_that_comes_after_cancel_is_dropped(listener):
    go = threading.Event()
    listener.runner.start(lambda progress, cancelled: go.wait(5))
    job = listener.runner._job
    listener.runner.cancel()
    go.set()
    assert job.ended.wait(1)
    listener.runner.poll()
    assert listener.results == []


def test_a_new_start_takes_the_place_of_the_old(listener):
    listener.runner.start(forever)
    listener.runner.start(lambda progress, cancelled: "new")
    listener.turn()
    assert listener.results == ["new"]


def test_a_listener_may_cancel(listener):
    def compute(progress, cancelled):
        progress(1, "end")
        return 1

    listener.runner._progressed = lambda *_: listener.runner.cancel()
    listener.runner.start(compute)
    listener.turn()
    assert listener.results == []


def test_poll_gives_the_interpreter_away_but_not_for_long(listener):
    listener.runner.start(forever)
    start = time.monotonic()
    listener.runner.poll()
    assert YIELD_S * 0.9 < time.monotonic() - start < 0.1
    listener.runner.cancel()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("The scan is empty."), "The scan is empty."),
        (MemoryError(), "out of memory"),
        (ImportError("No module named 'torch'"), "'torch'"),
        (ZeroDivisionError("division by zero"), "Unexpected error (ZeroDivisionError: division by zero)"),
    ],
)
def test_errors_arrive_as_a_sentence(listener, error, words, caplog):
    def compute(progress, cancelled):
        raise error

    listener.runner.start(compute)
    listener.turn()
    (said,) = listener.errors
    assert words in said
    assert said == sentence(error)
    assert bool(caplog.records) == (not isinstance(error, InputError))
