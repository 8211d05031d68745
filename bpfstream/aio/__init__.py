"""The same for asyncio programs: objects and event streams.

    async with bpfstream.aio.load("exec.bpf.o") as obj:
        with obj.attach():
            async with obj.events("events") as events:
                async for event in events:
                    print(event.pid, event.comm)

Everything works as it does for trio, over the same core, and trio is not imported. What differs: a
stream that is closed raises `StreamClosedError` and one that another task reads `StreamBusyError`,
as asyncio has no such exceptions.
"""

from bpfstream.aio.loading import load
from bpfstream.aio.object import Object
from bpfstream.aio.stream import EventStream
from bpfstream.aio.subscription import Subscription

__all__ = ["EventStream", "Object", "Subscription", "load"]
