"""BPF instructions: encoded code that can be edited."""

from bpfstream.asm.code import Code

__all__ = ["Code"]
