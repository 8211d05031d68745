"""File descriptors of this process: what is open, and what a test left behind."""

from __future__ import annotations

from pathlib import Path

BPF_IDENTITIES = ("map_id", "prog_id", "link_id", "btf_id")
"""Lines of /proc/self/fdinfo/N that tell which BPF object a descriptor holds."""


def open_descriptors() -> dict[int, str]:
    """Every open descriptor and what it refers to, such as ``anon_inode:bpf-map (map_id 12)``."""
    descriptors = {}
    for link in list(Path("/proc/self/fd").iterdir()):
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the descriptor that listed the directory
            continue
        descriptors[int(link.name)] = target + _bpf_identity(link.name, target)
    return descriptors


def leaked(before: dict[int, str], after: dict[int, str]) -> list[str]:
    """What is open after a test and was not before, one line a descriptor."""
    return [
        f"fd {number}: {target}"
        for number, target in sorted(after.items())
        if before.get(number) != target
    ]


def _bpf_identity(name: str, target: str) -> str:
    if not target.startswith("anon_inode:bpf"):
        return ""
    lines = Path("/proc/self/fdinfo", name).read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    known = [f"{key} {facts[key].strip()}" for key in BPF_IDENTITIES if key in facts]
    return f" ({', '.join(known)})" if known else ""
