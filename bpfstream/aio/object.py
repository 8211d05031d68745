"""The live object of asyncio programs."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

from bpfstream.aio.stream import EventStream
from bpfstream.live.events import EventTypes
from bpfstream.live.object import BaseObject
from bpfstream.streams.base import DEFAULT_MAX_LATENCY
from bpfstream.streams.perf_options import DEFAULT_PAGES, PerfOptions

E = TypeVar("E", bound=msgspec.Struct)


class Object(BaseObject):
    """A loaded BPF object. `bpfstream.aio.load` makes one.

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

        As `bpfstream.Object.events`, which describes the arguments and the other errors.

        Raises:
            StreamBusyError: The ring has a stream already.
        """
        perf = PerfOptions(pages, watermark, wakeup_events)
        return self._open_stream(EventStream, name, type, tag, max_latency, perf)
