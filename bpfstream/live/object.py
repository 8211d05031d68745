"""The live object: programs and maps in the kernel, attachments and event streams upon them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload

import msgspec

from bpfstream import links
from bpfstream.errors import StreamError, closed
from bpfstream.live.events import EventType, EventTypes, open_stream
from bpfstream.live.program import Program
from bpfstream.maps import Map
from bpfstream.spec import ObjectSpec
from bpfstream.streams.base import DEFAULT_MAX_LATENCY, BaseEventStream
from bpfstream.streams.perf_options import DEFAULT_PAGES, PerfOptions

if TYPE_CHECKING:
    from bpfstream.streams import EventStream
    from bpfstream.streams.recorder import FlightRecorder
    from bpfstream.streams.user_ring import UserRing

E = TypeVar("E", bound=msgspec.Struct)
S = TypeVar("S", bound=BaseEventStream[Any])


class _Reader(Protocol):
    """What reads or writes a ring: there is one at a time."""

    @property
    def is_closed(self) -> bool: ...

    def close(self) -> None: ...


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
        self._readers: dict[str, _Reader] = {}
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
        perf: PerfOptions,
    ) -> S:
        self._check_open()
        if self._is_read(name):
            raise kind.busy(f"map {name!r} has a reader already")
        stream = open_stream(
            kind,
            self.spec,
            self.maps,
            name,
            types=types,
            tag=tag,
            max_latency=max_latency,
            perf=perf,
        )
        self._readers[name] = stream
        return stream

    @overload
    def recorder(self, name: str, *, pages: int = ...) -> FlightRecorder[Any]: ...
    @overload
    def recorder(self, name: str, *, type: type[E], pages: int = ...) -> FlightRecorder[E]: ...
    @overload
    def recorder(
        self, name: str, *, type: type[bytes], pages: int = ...
    ) -> FlightRecorder[bytes]: ...
    @overload
    def recorder(
        self, name: str, *, type: EventTypes, tag: str | None = ..., pages: int = ...
    ) -> FlightRecorder[Any]: ...
    def recorder(
        self,
        name: str,
        *,
        type: EventTypes | None = None,  # noqa: A002 - what the user calls it
        tag: str | None = None,
        pages: int = DEFAULT_PAGES,
    ) -> FlightRecorder[Any]:
        """Keep the last events of a ring, to be looked at when something happened.

        The recorder is a context manager; it takes a perf event array (Linux 4.7) or a ring buffer
        with ``BPF_F_RB_OVERWRITE`` (Linux 6.19). What is new overwrites what is oldest, and nobody
        is woken. A ring has one reader at a time; closing the object closes its recorders.

        Args:
            name: The map.
            type: What the events are, as for `events`.
            tag: As for `events`.
            pages: Data pages of each CPU's ring, for a perf event array: a power of two.

        Raises:
            KeyError: The object has no such map.
            ValueError: `pages` is not a power of two.
            StreamError: The map is no such ring, or has a reader already.
            SchemaError: A class differs from the BTF struct of the same ring.
            KernelError: The ring can't be opened.
        """
        from bpfstream.live.recorder import open_recorder

        self._check_open()
        if self._is_read(name):
            raise StreamError(f"map {name!r} has a reader already")
        recorder = open_recorder(self.spec, self.maps, name, types=type, tag=tag, pages=pages)
        self._readers[name] = recorder
        return recorder

    def _is_read(self, name: str) -> bool:
        reader = self._readers.get(name)
        return reader is not None and not reader.is_closed

    def close(self) -> None:
        """Close streams and recorders, detach links, give up programs and maps; idempotent."""
        self._closed = True
        with ExitStack() as closing:
            closing.callback(self._closing.close)
            for reader in self._readers.values():
                closing.callback(reader.close)

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
        self,
        name: str,
        *,
        max_latency: float = ...,
        pages: int = ...,
        watermark: int | None = ...,
        wakeup_events: int | None = ...,
    ) -> EventStream[Any]: ...
    @overload
    def events(
        self,
        name: str,
        *,
        type: type[E],
        max_latency: float = ...,
        pages: int = ...,
        watermark: int | None = ...,
        wakeup_events: int | None = ...,
    ) -> EventStream[E]: ...
    @overload
    def events(
        self,
        name: str,
        *,
        type: type[bytes],
        max_latency: float = ...,
        pages: int = ...,
        watermark: int | None = ...,
        wakeup_events: int | None = ...,
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
        watermark: int | None = ...,
        wakeup_events: int | None = ...,
    ) -> EventStream[Any]: ...
    def events(
        self,
        name: str,
        *,
        type: EventTypes | None = None,  # noqa: A002 - what the user calls it
        tag: str | None = None,
        max_latency: float = DEFAULT_MAX_LATENCY,
        pages: int = DEFAULT_PAGES,
        watermark: int | None = None,
        wakeup_events: int | None = None,
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
            pages: Data pages of each CPU's ring, for a perf event array: a power of two.
            watermark: For a perf event array: bytes that a CPU must send until the stream is woken.
                What stays below is found by a look after a quarter of a second, or by the timer of
                `max_latency`; with 0 there is none.
            wakeup_events: The same in events. Without either the stream is woken for each event,
                unless it looks by the timer.

        Raises:
            ValueError: A number is out of range, or `watermark` and `wakeup_events` are both set.
            KeyError: The object has no such map.
            StreamError: The map is no ring.
            SchemaError: A class differs from the BTF struct of the same ring.
            trio.BusyResourceError: The ring has a stream already.
            KernelError: The ring can't be opened.
        """
        from bpfstream.streams import EventStream

        perf = PerfOptions(pages, watermark, wakeup_events)
        return self._open_stream(EventStream, name, type, tag, max_latency, perf)

    @overload
    def user_ring(self, name: str) -> UserRing[Any]: ...
    @overload
    def user_ring(self, name: str, *, type: type[E]) -> UserRing[E | Mapping[str, Any]]: ...
    @overload
    def user_ring(self, name: str, *, type: type[bytes]) -> UserRing[bytes]: ...
    @overload
    def user_ring(self, name: str, *, type: str) -> UserRing[Any]: ...
    def user_ring(
        self,
        name: str,
        *,
        type: EventType | type[bytes] | None = None,  # noqa: A002 - what the user calls it
    ) -> UserRing[Any]:
        """Open a user ring buffer, to send to programs (Linux 6.1).

        The ring is an async context manager and a `trio.abc.SendChannel`. There is one writer at a
        time; closing the object closes it.

        Args:
            name: The map.
            type: What the programs expect: the name of a struct in the object's BTF, a
                `msgspec.Struct` class that is checked against the struct of its name, or `bytes`.
                Without it, the value type that the map declares, or `bytes` if there is none. What
                is sent is an instance, or a mapping of the fields that are not zero.

        Raises:
            KeyError: The object has no such map.
            StreamError: The map is no user ring buffer.
            SchemaError: A class differs from its BTF struct, or there is no such struct.
            trio.BusyResourceError: The ring has a writer already.
            KernelError: The ring can't be opened.
        """
        import trio

        from bpfstream.live.user_ring import open_user_ring

        self._check_open()
        if self._is_read(name):
            raise trio.BusyResourceError(f"user ring {name!r} has a writer already")
        ring = open_user_ring(self.spec, self.maps, name, type)
        self._readers[name] = ring
        return ring
