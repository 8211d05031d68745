"""BTF, the BPF type format: read it, look types up, write it. Knows no kernel and does no I/O."""

from bpfstream.btf.names import essential_name
from bpfstream.btf.reader import Btf

__all__ = ["Btf", "essential_name"]
