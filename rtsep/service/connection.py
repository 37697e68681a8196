"""Connection: one client's WebSocket, from its first frame to its last."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from rtsep.engine.engine_stream import EngineStream, Message
from rtsep.errors import InputError
from rtsep.service.limits import Limits
from rtsep.service.metrics import Metrics
from rtsep.service.pace import Pace
from rtsep.service.sound_format import SIXTEEN_BITS, SoundFormat
from rtsep.service.stepper import Stepper

_MAX_TEXT = 1000  # characters of a command
_SURE = 1 << 15  # bytes that are taken at once where nothing waits: half of what asyncio lets wait


class Connection:
    """A client's stream: each binary message is answered by one of the same length, the sound ``latency`` later."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        sound_format: SoundFormat,
        stream: EngineStream,
        stepper: Stepper,
        limits: Limits,
        metrics: Metrics,
        transport: asyncio.Transport,
    ) -> None:
        """transport: what the socket stands on."""
        self._socket, self._format, self._stream = socket, sound_format, stream
        self._stepper, self._limits, self._metrics = stepper, limits, metrics
        self._abort, self._backlog = transport.abort, transport.get_write_buffer_size
        self._places: list[int] = []
        self._pace = Pace(limits.speed, limits.burst_s)
        self._busy = asyncio.Lock()
        self._came = time.monotonic()  # the newest message

    async def run(self) -> None:
        """Serve until the client goes, or is sent away. Raises InputError when no place is free."""
        self._places = await self._stepper.join(self._stream.places)
        self._stream.take_places(self._places)
        watching = asyncio.create_task(self._watch())
        try:
            await self._converse()
        except InputError as error:
            self._metrics.refused["message"] += 1
            await self._close(WSCloseCode.POLICY_VIOLATION, str(error))
        except asyncio.TimeoutError:
            self._metrics.refused["slow"] += 1
            self._abort()
        except ConnectionError:
            pass  # it has vanished
        finally:
            watching.cancel()
            self._stepper.leave(self._stream, self._places)

    async def leave(self) -> None:
        """The server ends: after the answer to the frame that is at work, if there is one."""
        try:
            await asyncio.wait_for(self._busy.acquire(), self._limits.close_s)
        except asyncio.TimeoutError:
            self._abort()
        else:
            await self._close(WSCloseCode.GOING_AWAY, "The server is shutting down.")

    async def _watch(self) -> None:
        """Send a client away from which nothing comes."""
        idle = self._limits.idle_s
        while (left := self._came + idle - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self._metrics.refused["idle"] += 1
        await self._close(WSCloseCode.POLICY_VIOLATION, f"Nothing came for {idle:g} s.")

    async def _converse(self) -> None:
        spec, stream = self._stream.spec, self._stream
        await self._socket.send_json(
            {
                "model": f"{spec.name} {spec.version}",
                "rate": stream.sample_rate,
                "channels": stream.channels,
                "format": self._format.samples,
                "latency": stream.latency,
            }
        )
        while True:
            message = await self._socket.receive()
            if message.type == WSMsgType.BINARY:
                came = self._came = time.monotonic()
                async with self._busy:
                    samples = self._format.check(message.data)
                    await self._send(await self._processed(message.data))
                self._metrics.replied(time.monotonic() - came)
                wait = self._pace.wait(samples / stream.sample_rate, came)
                if wait > 0:
                    await asyncio.sleep(wait)
            elif message.type == WSMsgType.TEXT:
                self._came = time.monotonic()
                if await self._do(message.data):
                    return
            else:  # closed, by either side, or broken
                if message.type == WSMsgType.ERROR:
                    too_big = getattr(message.data, "code", None) == WSCloseCode.MESSAGE_TOO_BIG
                    self._metrics.refused["frame size" if too_big else "protocol"] += 1
                return

    async def _processed(self, data: bytes) -> bytearray:
        """A frame through the engine."""
        return await self._stepper.step(Message(self._stream, data, self._format.samples == SIXTEEN_BITS))

    async def _do(self, text: str) -> bool:
        """What a text message asks for; whether that was the end. Raises InputError when it is no command."""
        command = _command(text)
        if "strength" in command:
            self._stream.strength = command["strength"]
            return False
        promised = self._stream.block_multiple  # the silence keeps what the client has promised
        size, latency = self._format.frame_bytes, self._stream.latency
        async with self._busy:
            tail = await self._processed(bytes(-(-latency // promised) * promised * size))
            await self._send(tail[: latency * size])
        await self._close(WSCloseCode.OK, "")
        return True

    async def _send(self, data: bytearray) -> None:
        """An answer. Who has not taken the one before yet has a time to do so; raises TimeoutError after that."""
        sending = self._socket.send_bytes(bytes(data))
        if self._backlog() or len(data) > _SURE:
            await asyncio.wait_for(sending, self._limits.send_s)
        else:  # nothing to wait for
            await sending

    async def _close(self, code: WSCloseCode, reason: str) -> None:
        """Say goodbye; away with a client that does not even take that."""
        goodbye = self._socket.close(code=code, message=reason.encode()[:123])  # what a close frame holds
        try:
            await asyncio.wait_for(goodbye, 2 * self._limits.close_s)
        except (ConnectionError, asyncio.TimeoutError):
            self._abort()


def _command(text: str) -> dict[str, Any]:
    try:
        command = json.loads(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, RecursionError):
        command = None
    if isinstance(command, dict) and (set(command) == {"strength"} or command == {"end": True}):
        return command
    raise InputError('A text message is {"strength": DB}, {"strength": null} or {"end": true}.')
