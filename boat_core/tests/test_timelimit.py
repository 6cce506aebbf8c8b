"""The time limit: it interrupts what catches everything, and leaves a user's own alarm alone."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from boat_core._util.timelimit import TookTooLong, time_limit
from boat_core.plugins import discovery
from boat_core.plugins.entries import PackWarning


@pytest.fixture
def alarm():
    """The process's alarm as it should be afterwards: free."""
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def is_free():
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_it_interrupts_and_gives_the_alarm_back(alarm):
    def stubborn():
        try:
            time.sleep(10)
        except Exception:
            pytest.fail("the code's own handler swallowed it")

    with pytest.raises(TookTooLong), time_limit(0.05):
        stubborn()
    assert is_free()
    with time_limit(0.05):
        pass
    assert is_free()


def test_code_that_catches_everything_is_interrupted_again(alarm, monkeypatch):
    monkeypatch.setattr("boat_core._util.timelimit._AGAIN", 0.0625)
    interrupted = []

    def stubborn():
        while True:
            try:
                time.sleep(10)
            except BaseException as error:
                interrupted.append(error)
                if len(interrupted) == 3:
                    raise

    with pytest.raises(TookTooLong), time_limit(0.05):
        stubborn()


@pytest.mark.parametrize("armed", [True, False])
def test_a_users_own_alarm_is_untouched(alarm, armed):
    def own(signum, frame):
        raise AssertionError("not in this test")

    signal.signal(signal.SIGALRM, own)
    if armed:
        signal.setitimer(signal.ITIMER_REAL, 60)
    with time_limit(0.01):
        time.sleep(0.05)
        assert signal.getsignal(signal.SIGALRM) is own
    assert signal.getsignal(signal.SIGALRM) is own
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 50) == armed


def test_an_alarm_that_the_code_sets_up_is_its_own(alarm):
    def own(signum, frame):
        raise AssertionError("not in this test")

    with time_limit(5):
        signal.signal(signal.SIGALRM, own)
    assert signal.getsignal(signal.SIGALRM) is own
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with time_limit(5):
        signal.alarm(60)
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 50


def test_there_is_none_in_other_threads():
    ended = []

    def work():
        with time_limit(0.01):
            time.sleep(0.05)
            ended.append(signal.getsignal(signal.SIGALRM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [signal.SIG_DFL]


@pytest.mark.parametrize(("given", "seconds"), [("", 20.0), ("3.5", 3.5), ("0", 0.0), ("-1", 0.0)])
def test_the_command_alone_limits_imports(monkeypatch, given, seconds):
    monkeypatch.setenv(discovery.SECONDS, given)
    assert discovery._import_seconds.get() == 0.0
    with discovery.limited_imports():
        assert discovery._import_seconds.get() == seconds
    assert discovery._import_seconds.get() == 0.0


def test_a_limit_that_is_no_number(monkeypatch):
    monkeypatch.setenv(discovery.SECONDS, "soon")
    expected = pytest.warns(PackWarning, match=r"BOAT_IMPORT_SECONDS: expected a number of seconds \(got 'soon'\)")
    with expected, discovery.limited_imports():
        assert discovery._import_seconds.get() == discovery.DEFAULT_SECONDS
