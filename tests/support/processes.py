"""Processes that a test watches, and work that goes on beside it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TIME_LIMIT = 300
"""Seconds after which a process that should have ended is killed; guests are slow."""


@contextmanager
def watched(command: Sequence[str | Path]) -> Iterator[subprocess.Popen[str]]:
    """A running command whose output can be read; it is ended at the end of the block."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(TIME_LIMIT, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@contextmanager
def repeated(work: Sequence[str]) -> Iterator[None]:
    """Runs a command again and again while the block lasts."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(0.02):
            subprocess.run(work, stderr=subprocess.DEVNULL, check=False)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
