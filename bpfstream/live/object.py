"""The live object: programs and maps in the kernel, attachments and event streams upon them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import msgspec

from bpfstream import links
from bpfstream.errors import closed
from bpfstream.live.events import EventTypes, open_stream
from bpfstream.live.program import Program
from bpfstream.maps import Map
from bpfstream.spec import ObjectSpec
from bpfstream.streams.base import DEFAULT_MAX_LATENCY, BaseEventStream
from bpfstream.streams.perf_buffer import DEFAULT_PAGES

if TYPE_CHECKING:
    from bpfstream.streams import EventStream

E = TypeVar("E", bound=msgspec.Struct)
S = TypeVar("S", bound=BaseEventStream[Any])


class BaseObject:
    """A loaded BPF object, but for its event streams, which belong to an event loop.

    Attributes:
        spec: What it was loaded from.
        programs: Its loaded programs by name; those that were left out are not there.
        maps: Its maps by name, sections of global data (``.bss``) included.
    """

    def __init__(
        self, spec: ObjectSpec, programs: Mapping[str, Program], maps: Mapping[str, Map[Any, Any]]
    ) -> None:
        """Take over programs and maps."""
        self.spec = spec
        self.programs: Mapping[str, Program] = MappingProxyType(dict(programs))
        self.maps: Mapping[str, Map[Any, Any]] = MappingProxyType(dict(maps))
        self._streams: dict[str, BaseEventStream[Any]] = {}
        self._closing = ExitStack()
        for created in maps.values():
            self._closing.callback(created.close)
        for program in programs.values():
            self._closing.callback(program.close)
        self._closed = False

    def attach(self) -> links.LinkGroup:
        """Attach every program to what its section names.

        Programs without a hook of their own (``SEC("syscall")``, the operations of a struct_ops
        map, programs for entries of device and CPU maps) are left alone.

        Returns:
            The links, as a context manager that detaches them in reverse order. The end of the
            object detaches them too.

        Raises:
            AttachError: A program can't be attached, or its section names no target. Those that
                were attached before it are detached.
            PermissionDeniedError: The process may not attach it.
            NotSupportedError: The kernel lacks what it takes.
        """
        self._check_open()
        with ExitStack() as undo:
            group = links.LinkGroup()
            undo.callback(group.detach)
            for program in self.programs.values():
                if links.has_hook(program):
                    group.add(links.attach(program))
            self._closing.push(undo.pop_all())
        return group

    def _open_stream(
        self,
        kind: type[S],
        name: str,
        types: EventTypes | None,
        tag: str | None,
        max_latency: float,
        pages: int,
    ) -> S:
        self._check_open()
        current = self._streams.get(name)
        if current is not None and not current.is_closed:
            raise kind.busy(f"map {name!r} has an event stream already")
        stream = open_stream(
            kind,
            self.spec,
            self.maps,
            name,
            types=types,
            tag=tag,
            max_latency=max_latency,
            pages=pages,
        )
        self._streams[name] = stream
        return stream

    def close(self) -> None:
        """Close streams, detach links, give up programs and maps; idempotent."""
        self._closed = True
        with ExitStack() as closing:
            closing.callback(self._closing.close)
            for stream in self._streams.values():
                closing.callback(stream.close)

    def _check_open(self) -> None:
        if self._closed:
            raise closed(f"object {self.spec.name!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return (
            f"<{type(self).__name__} {self.spec.name!r}: {len(self.programs)} programs, "
            f"{len(self.maps)} maps{state}>"
        )


class Object(BaseObject):
    """A loaded BPF object. `bpfstream.load` makes one.

    Attributes:
        spec: What it was loaded from.
        programs: Its loaded programs by name; those that were left out are not there.
        maps: Its maps by name, sections of global data (``.bss``) included.
    """

    @overload
    def events(
        self, name: str, *, max_latency: float = ..., pages: int = ...
    ) -> EventStream[Any]: ...
    @overload
    def events(
        self, name: str, *, type: type[E], max_latency: float = ..., pages: int = ...
    ) -> EventStream[E]: ...
    @overload
    def events(
        self, name: str, *, type: type[bytes], max_latency: float = ..., pages: int = ...
    ) -> EventStream[bytes]: ...
    @overload
    def events(
        self,
        name: str,
        *,
        type: EventTypes,
        tag: str | None = ...,
        max_latency: float = ...,
        pages: int = ...,
    ) -> EventStream[Any]: ...
    def events(
        self,
        name: str,
        *,
        type: EventTypes | None = None,  # noqa: A002 - what the user calls it
        tag: str | None = None,
        max_latency: float = DEFAULT_MAX_LATENCY,
        pages: int = DEFAULT_PAGES,
    ) -> EventStream[Any]:
        """Open a stream of what programs send through a ring buffer or a perf event array.

        The stream is an async context manager: ``async with obj.events("events") as events``. A
        ring has one stream at a time; closing the object closes its streams.

        Args:
            name: The map.
            type: What the events are. Without it, the struct that the object says the ring
                carries, or `bytes` if the object does not say. The name of a struct in the
                object's BTF; or a `msgspec.Struct` class, whose fields are checked against the
                struct of its name (``OpenEvent`` or ``open_event``), else against the one that
                the ring carries, and which otherwise has to say its C types itself
                (`bpfstream.records.layouts`); or `bytes`; or several structs that `tag` tells
                apart: ``{1: "open_event", 2: "close_event"}``, or classes that say their tag
                themselves (``class OpenEvent(msgspec.Struct, tag=1)``).
            tag: The field, at the same place in all the structs, by whose value they differ.
            max_latency: Seconds that an event may wait in the ring for others to join it. The
                stream is woken for each event while there are few; when there are many it looks
                once in this time, which costs it and the traced programs less. 0: it is always
                woken.
            pages: Data pages of each CPU's ring, for a perf event array.

        Raises:
            KeyError: The object has no such map.
            StreamError: The map is no ring.
            SchemaError: A class differs from the BTF struct of the same ring.
            trio.BusyResourceError: The ring has a stream already.
            KernelError: The ring can't be opened.
        """
        from bpfstream.streams import EventStream

        return self._open_stream(EventStream, name, type, tag, max_latency, pages)
