"""Timers with a descriptor."""

from __future__ import annotations

import errno
import resource
import select

import pytest

from bpfstream.kernel.timerfd import Timer


def is_readable(timer: Timer, timeout: float) -> bool:
    return bool(select.select([timer], [], [], timeout)[0])


def test_runs_out_once(native: bool) -> None:
    with Timer(native=native) as timer:
        assert not is_readable(timer, 0)
        timer.start(0.001)
        assert is_readable(timer, 60)
        assert is_readable(timer, 60), "until it is started again"


def test_starting_it_again_is_enough(native: bool) -> None:
    """Nobody has to read it."""
    with Timer(native=native) as timer:
        for _ in range(3):
            timer.start(0)
            assert is_readable(timer, 60)
        timer.start(1000)
        assert not is_readable(timer, 0.01)


@pytest.mark.parametrize("seconds", [0, 1e-12])
def test_no_time_at_all_is_the_shortest(native: bool, seconds: float) -> None:
    with Timer(native=native) as timer:
        timer.start(seconds)
        assert is_readable(timer, 60)


def test_closing_is_idempotent() -> None:
    timer = Timer()
    timer.close()
    timer.close()
    assert timer.fileno() == -1


def test_a_descriptor_that_is_no_timer_cant_be_started(native: bool) -> None:
    timer = Timer(native=native)
    timer.close()
    with pytest.raises(OSError, match=r"descriptor") as caught:
        timer.start(1)
    assert caught.value.errno == errno.EBADF


def test_its_descriptor_is_not_inherited() -> None:
    import fcntl

    with Timer() as timer:
        assert fcntl.fcntl(timer, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_the_kernels_refusal_is_an_os_error() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Timer() as timer:  # the libc functions are known now: finding them may open files
        resource.setrlimit(resource.RLIMIT_NOFILE, (timer.fileno(), hard))
        try:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at
                Timer()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
