"""Commands run by a user who may do nothing."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from tests.support.requirements import require_program


def run_as_nobody(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a command as user nobody, to its end, with its output captured.

    It has no capability; but where nobody can't even reach the interpreter (one in /root, say) it
    has CAP_DAC_READ_SEARCH, which lets it read every file and gives no right over BPF.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    nobody = pwd.getpwnam("nobody")
    identity = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    setpriv = [str(require_program("setpriv", package="util-linux")), *identity]
    if subprocess.run([*setpriv, sys.executable, "-c", ""], capture_output=True).returncode != 0:
        setpriv += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return subprocess.run([*setpriv, *arguments], capture_output=True, text=True, timeout=timeout)
