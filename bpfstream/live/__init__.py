"""What a user holds: an object in the kernel, with its programs and maps."""

from bpfstream.live.loader import load_object
from bpfstream.live.loading import load
from bpfstream.live.object import Object
from bpfstream.live.program import Program

__all__ = ["Object", "Program", "load", "load_object"]
