"""What `make demo` shows: the exec example, watching programs that it starts itself."""

import os
import sys
from pathlib import Path

EXAMPLE = Path(__file__).with_name("exec") / "exec.py"
WORKLOAD = "(id -u; uname -s; date; ls /; env true; sleep 0.1) > /dev/null"

if __name__ == "__main__":
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(EXAMPLE), "sh", "-c", WORKLOAD])
