"""Network interfaces: names and indices."""

from __future__ import annotations


def interface_index(name: str) -> int:
    """The index of a network interface of this network namespace.

    Raises:
        OSError: ENODEV, there is none of that name.
    """
    import errno
    import os
    import socket

    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError) as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name) from error


def interface_names() -> list[str]:
    """The names of the network interfaces of this network namespace."""
    import socket

    return [name for _, name in socket.if_nameindex()]
