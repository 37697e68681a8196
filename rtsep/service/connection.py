"""Connection: one client's WebSocket, from its first frame to its last."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web
from numpy.typing import NDArray

from rtsep.engine.engine_stream import EngineStream
from rtsep.errors import InputError
from rtsep.service.limits import Limits
from rtsep.service.metrics import Metrics
from rtsep.service.pace import Pace
from rtsep.service.sound_format import SoundFormat
from rtsep.service.stepper import Stepper

Floats = NDArray[np.float32]

_MAX_TEXT = 1000  # characters of a command


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
        abort: Callable[[], None],
    ) -> None:
        """abort: ends the connection at once."""
        self._socket, self._format, self._stream = socket, sound_format, stream
        self._stepper, self._limits, self._metrics = stepper, limits, metrics
        self._abort = abort
        self._places: list[int] = []
        self._pace = Pace(limits.speed, limits.burst_s)
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Serve until the client goes, or is sent away. Raises InputError when no place is free."""
        self._places = await self._stepper.join(self._stream.places)
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
            self._stepper.leave(self._places)

    async def leave(self) -> None:
        """The server ends: after the answer to the frame that is at work, if there is one."""
        try:
            await asyncio.wait_for(self._busy.acquire(), self._limits.close_s)
        except asyncio.TimeoutError:
            self._abort()
        else:
            await self._close(WSCloseCode.GOING_AWAY, "The server is shutting down.")

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
            try:
                message = await self._socket.receive(self._limits.idle_s)
            except asyncio.TimeoutError:
                self._metrics.refused["idle"] += 1
                await self._close(WSCloseCode.POLICY_VIOLATION, f"Nothing came for {self._limits.idle_s:g} s.")
                return
            if message.type == WSMsgType.BINARY:
                came = time.monotonic()
                async with self._busy:
                    block = self._format.decoded(message.data)
                    await self._send(await self._processed(block))
                self._metrics.replied(time.monotonic() - came)
                wait = self._pace.wait(len(block) / stream.sample_rate, came)
                if wait > 0:
                    await asyncio.sleep(wait)
            elif message.type == WSMsgType.TEXT:
                if await self._do(message.data):
                    return
            else:  # closed, by either side, or broken
                if message.type == WSMsgType.ERROR:
                    too_big = getattr(message.data, "code", None) == WSCloseCode.MESSAGE_TOO_BIG
                    self._metrics.refused["frame size" if too_big else "protocol"] += 1
                return

    async def _processed(self, block: Floats) -> Floats:
        """[samples, channels] through the engine."""
        out = [np.zeros((0, self._stream.channels), np.float32)]
        for piece in self._stream.pieces(block):
            hops = self._stream.put(piece)
            out.append(self._stream.get(await self._stepper.step(self._places, hops) if hops.shape[1] else hops))
        return np.concatenate(out)

    async def _do(self, text: str) -> bool:
        """What a text message asks for; whether that was the end. Raises InputError when it is no command."""
        command = _command(text)
        if "strength" in command:
            self._stream.strength = command["strength"]
            return False
        grain = self._stream.grain
        silence = np.zeros((-(-self._stream.latency // grain) * grain, self._stream.channels), np.float32)
        async with self._busy:
            await self._send((await self._processed(silence))[: self._stream.latency])
        await self._close(WSCloseCode.OK, "")
        return True

    async def _send(self, block: Floats) -> None:
        await asyncio.wait_for(self._socket.send_bytes(self._format.encoded(block)), self._limits.send_s)

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
