"""Run the kernel tests in guests of other kernels: what `make test-guests` does.

    python tests/guests/run.py [--limit SECONDS] KERNEL... [-- PYTEST_ARGUMENT...]

A KERNEL is a Debian suite, whose cloud kernel `kernels.sh` downloads into .cache/kernels, or a
folder with an unpacked kernel package. The guests see this machine's files and run this interpreter
(`vm.sh`), two at a time where there are CPUs for it; what they print is in .cache/guests while they
run, and on stdout when they end. The last line is a summary like pytest's, over all guests. A guest
in which no test passed counts as a failure.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KERNELS = ROOT / ".cache" / "kernels"
LOGS = ROOT / ".cache" / "guests"
SELECTION = ["-m", "kernel or guest", "tests/kernel", "tests/corpora"]
CPUS_OF_A_GUEST = 2
BOOTS = 2
"""How often a guest that does not boot is booted: under emulation that happens now and then."""
DID_NOT_BOOT = 124
"""The exit status of vm.sh for a guest that never came to run the command."""
KVM_PROBE_SECONDS = 10
"""A boot with KVM takes about 2 s; a KVM inside a virtual machine may start a guest that hangs."""


@dataclass(frozen=True)
class Result:
    """How the tests went in one guest.

    Attributes:
        kernel: The kernel that was asked for.
        status: The exit status of pytest; 125 when the guest gave none.
        output: All that pytest printed.
        seconds: From the start of the guest to its end.
    """

    kernel: str
    status: int
    output: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether tests ran and none failed."""
        return self.status == 0 and self._counts()["passed"] > 0

    @property
    def outcomes(self) -> Counter[str]:
        """How many tests passed, failed, were skipped and so on.

        A guest that crashed, hung or tested nothing has one error at least.
        """
        counts = self._counts()
        if not (self.passed or counts["failed"] or counts["error"]):
            counts["error"] += 1
        return counts

    def _counts(self) -> Counter[str]:
        last_lines = re.findall(r"^=* ?(\d+ [a-z].*) in [\d.]+s.*$", self.output, re.MULTILINE)
        counts = re.findall(r"(\d+) ([a-z]+)", last_lines[-1]) if last_lines else []
        singular = {"errors": "error", "warnings": "warning"}
        return Counter({singular.get(name, name): int(count) for count, name in counts})


def main() -> int:
    arguments = parse_arguments()
    try:
        kernels = kernel_folders(arguments.kernels)
        accelerator = find_accelerator(kernels[0])
    except subprocess.CalledProcessError as error:
        return error.returncode  # the script has said why
    at_once = 2 if (os.cpu_count() or 1) >= 2 else 1
    LOGS.mkdir(parents=True, exist_ok=True)
    print(f"{len(kernels)} guests, {at_once} at a time, under {accelerator}; logs in {LOGS}")
    sys.stdout.flush()
    began = time.monotonic()
    results = []
    with ThreadPoolExecutor(at_once) as pool:
        runs = [
            pool.submit(run_tests, kernel, accelerator, arguments.limit, arguments.pytest)
            for kernel in kernels
        ]
        for run in as_completed(runs):
            result = run.result()
            results.append(result)
            print(banner(f"{result.kernel}: {result.seconds:.0f} s"))
            print(result.output, flush=True)
    print(banner("guests"))
    for result in results:
        print(f"{result.kernel:20} {summary(result.outcomes)} in {result.seconds:.0f} s")
    total = sum((result.outcomes for result in results), Counter[str]())
    print(banner(f"{summary(total)} in {time.monotonic() - began:.2f}s"))
    return 0 if all(result.passed for result in results) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the kernel tests in guests of other kernels.")
    parser.add_argument("kernels", metavar="KERNEL", nargs="+", help="a Debian suite or a folder")
    parser.add_argument("--limit", type=int, default=1500, metavar="SECONDS", help="for each guest")
    own, pytest = sys.argv[1:], []
    if "--" in own:
        split = own.index("--")
        own, pytest = own[:split], own[split + 1 :]
    arguments = parser.parse_args(own)
    arguments.pytest = pytest
    return arguments


def kernel_folders(kernels: Sequence[str]) -> list[Path]:
    """The folders of the kernels; Debian suites are downloaded."""
    suites = [kernel for kernel in kernels if "/" not in kernel]
    if suites:
        subprocess.run([HERE / "kernels.sh", KERNELS, *suites], check=True)
    return [Path(kernel) if "/" in kernel else KERNELS / kernel for kernel in kernels]


def find_accelerator(kernel: Path) -> str:
    """kvm where a guest boots with it, or else tcg.

    Raises:
        subprocess.CalledProcessError: No guest boots at all; what is missing is on stderr.
    """
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        probe = boot(kernel, "kvm", KVM_PROBE_SECONDS, ["true"], subprocess.DEVNULL)
        if probe.returncode == 0:
            return "kvm"
    boot(kernel, "tcg", 120, ["true"], sys.stderr).check_returncode()
    return "tcg"


def run_tests(kernel: Path, accelerator: str, limit: int, pytest: Sequence[str]) -> Result:
    """Runs the tests in one guest, to their end or the time limit."""
    own = ["-p", "no:cacheprovider", "--color=no"]
    command = [sys.executable, "-m", "pytest", *own, *(pytest or SELECTION)]
    log = LOGS / f"{kernel.name}.log"
    began = time.monotonic()
    for _ in range(BOOTS):
        with log.open("w") as output:
            guest = boot(kernel, accelerator, limit, command, output)
        if guest.returncode != DID_NOT_BOOT:
            break
        print(f"{kernel.name}: {log.read_text(errors='replace')}", flush=True)
    seconds = time.monotonic() - began
    return Result(kernel.name, guest.returncode, log.read_text(errors="replace"), seconds)


def boot(
    kernel: Path, accelerator: str, limit: int, command: Sequence[str], output: IO[str] | int
) -> subprocess.CompletedProcess[bytes]:
    options = ["-a", accelerator, "-t", str(limit), "-s", str(CPUS_OF_A_GUEST)]
    with_us = ["setpriv", "--pdeathsig", "TERM"]  # no guest goes on when this process is killed
    return subprocess.run(
        [*with_us, HERE / "vm.sh", *options, kernel, *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def summary(outcomes: Counter[str]) -> str:
    """The counts in pytest's order and words."""
    plurals = {"error": "errors", "warning": "warnings"}
    order = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", *plurals)
    return ", ".join(
        f"{outcomes[name]} {plurals.get(name, name) if outcomes[name] > 1 else name}"
        for name in order
        if outcomes[name]
    )


def banner(text: str) -> str:
    return f" {text} ".center(80, "=")


if __name__ == "__main__":
    sys.exit(main())
