"""A timer with a descriptor to wait on: timerfd_create(2).

Event loops keep time by the timeout of epoll_wait(2), which is in whole milliseconds, and some pay
an exception for each of their own time-outs. A timer descriptor is exact to microseconds and costs
what any readable descriptor does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import Any, Self

from bpfstream.kernel.syscalls import kernel_error

_NANOSECONDS = 1_000_000_000
_CLOCK_MONOTONIC = 1
"""``time.CLOCK_MONOTONIC``; include/uapi/linux/time.h."""


class Timer:
    """A one-shot timer on the monotonic clock, whose descriptor is readable when it has run out."""

    def __init__(self) -> None:
        """Make a timer that is not running.

        Raises:
            OSError: With the kernel's errno, such as EMFILE.
        """
        self._fd, self._set = _create()

    def start(self, seconds: float) -> None:
        """Let it run out once after `seconds`, whether or not it was running or had run out.

        The descriptor is not readable until then; it need not be read.
        """
        # 0 would stop it (timerfd_settime(2)).
        self._set(max(1, int(seconds * _NANOSECONDS)))

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


if sys.version_info >= (3, 13):

    def _create() -> tuple[int, Callable[[int], object]]:
        fd = os.timerfd_create(_CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
        return fd, lambda nanoseconds: os.timerfd_settime_ns(fd, initial=nanoseconds)

else:

    def _create() -> tuple[int, Callable[[int], object]]:
        import ctypes

        create, settime = _libc_functions()
        fd: int = create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)  # as TFD_* are defined
        if fd < 0:
            raise kernel_error(ctypes.get_errno())
        # struct itimerspec: it_interval, then it_value, each of seconds and nanoseconds. libc's
        # unversioned symbol takes longs on machines of 32 bits too.
        new_value = (ctypes.c_long * 4)()
        address = ctypes.addressof(new_value)

        def settime_ns(nanoseconds: int) -> None:
            new_value[2], new_value[3] = divmod(nanoseconds, _NANOSECONDS)
            if settime(fd, 0, address, None) < 0:
                raise kernel_error(ctypes.get_errno())

        return fd, settime_ns


@cache
def _libc_functions() -> tuple[Any, Any]:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.timerfd_settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    return libc.timerfd_create, libc.timerfd_settime
