"""A timer with a descriptor to wait on: timerfd_create(2).

Event loops keep time by the timeout of epoll_wait(2), which is in whole milliseconds, and some pay
an exception for each of their own time-outs. A timer descriptor is exact to microseconds and costs
what any readable descriptor does.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import cache
from types import TracebackType
from typing import Any, Self

from bpfstream._native import COMPILED, hot
from bpfstream.kernel.syscalls import kernel_error

_NANOSECONDS = 1_000_000_000
_CLOCK_MONOTONIC = 1
"""``time.CLOCK_MONOTONIC``; include/uapi/linux/time.h."""


class Timer:
    """A one-shot timer on the monotonic clock, whose descriptor is readable when it has run out."""

    def __init__(self, *, native: bool = COMPILED) -> None:
        """Make a timer that is not running.

        Args:
            native: Start it by the compiled twin.

        Raises:
            OSError: With the kernel's errno, such as EMFILE.
        """
        self._fd = _create()
        self._set = hot.start_timer if native else _set

    def start(self, seconds: float) -> None:
        """Let it run out once after `seconds`, whether or not it was running or had run out.

        The descriptor is not readable until then; it need not be read.
        """
        # 0 would stop it (timerfd_settime(2)).
        self._set(self._fd, max(1, int(seconds * _NANOSECONDS)))

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

    def _create() -> int:
        return os.timerfd_create(_CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _set(fd: int, nanoseconds: int) -> None:
        if fd < 0:  # which os refuses by a ValueError
            raise kernel_error(errno.EBADF)
        os.timerfd_settime_ns(fd, initial=nanoseconds)

else:

    def _create() -> int:
        fd: int = _libc().timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:  # the flags are what TFD_* are defined as
            raise _error()
        return fd

    def _set(fd: int, nanoseconds: int) -> None:
        import ctypes

        # struct itimerspec: it_interval, then it_value, each of seconds and nanoseconds. libc's
        # unversioned symbol takes longs on machines of 32 bits too.
        new_value = (ctypes.c_long * 4)(0, 0, *divmod(nanoseconds, _NANOSECONDS))
        if _libc().timerfd_settime(fd, 0, new_value, None) < 0:
            raise _error()

    @cache
    def _libc() -> Any:
        import ctypes

        return ctypes.CDLL(None, use_errno=True)

    def _error() -> OSError:
        import ctypes

        return kernel_error(ctypes.get_errno())
