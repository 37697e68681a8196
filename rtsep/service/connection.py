"""Connection: one client's WebSocket, from its first frame to its last."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Any

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from rtsep.engine.engine_stream import EngineStream, Message
from rtsep.errors import InputError
from rtsep.service.fragments import Fragments
from rtsep.service.limits import Limits
from rtsep.service.metrics import Metrics
from rtsep.service.pace import Pace
from rtsep.service.sound_format import SIXTEEN_BITS, SoundFormat
from rtsep.service.stepper import Stepper

_MAX_TEXT = 1000  # characters of a command
_MAX_REASON = 123  # bytes, what a close frame holds
_REASONS = {WSCloseCode.MESSAGE_TOO_BIG: "frame size", WSCloseCode.GOING_AWAY: "ping"}


class Connection(WSListener):
    """A client's stream: each binary message is answered by one of the same length, the sound ``latency`` later.

    One message at a time is at work; the next has to wait for it, and also while the client is held back to its pace or
    does not take its answers. As long as one waits, nothing more is read: what the client sends stays with it.
    """

    def __init__(
        self,
        sound_format: SoundFormat,
        stream: EngineStream,
        stepper: Stepper,
        limits: Limits,
        metrics: Metrics,
        connections: set[Connection],
    ) -> None:
        """connections: of the server; it is one of them from its first moment to its last."""
        self.message = Message(stream, sound_format.samples == SIXTEEN_BITS)
        self._format, self._stream = sound_format, stream
        self._stepper, self._limits, self._metrics, self._connections = stepper, limits, metrics, connections
        self._loop = asyncio.get_running_loop()
        self._places: list[int] = []
        self._pace = Pace(limits.speed, limits.burst_s)
        self._largest = int(limits.frame_s * stream.sample_rate) * sound_format.frame_bytes
        self._fragments = Fragments()
        self._waiting: deque[bytes | str] = deque()  # sound, and commands between
        self._is_at_work = self._is_held = self._is_full = self._is_paused = False
        self._is_leaving = self._is_closing = False
        self._tail: int | None = None  # bytes of the last answer
        self._came = self._began = 0.0  # the newest message came; the one at work was taken up
        self._idle_timer: asyncio.TimerHandle | None = None
        self._full_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # What the WebSocket calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """A place in the engine, and the greeting."""
        self._transport = transport
        self._connections.add(self)
        self._places = self._stepper.join(self._stream.places)
        self._stream.take_places(self._places)
        self._metrics.connections += 1
        self._metrics.streams += len(self._places)
        self._came = time.monotonic()
        self._idle_timer = self._loop.call_later(self._limits.idle_s, self._watch)
        spec, stream = self._stream.spec, self._stream
        about = {
            "model": f"{spec.name} {spec.version}",
            "rate": stream.sample_rate,
            "channels": stream.channels,
            "format": self._format.samples,
            "latency": stream.latency,
        }
        transport.send(WSMsgType.TEXT, json.dumps(about))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame of a message, or of the protocol itself."""
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            self._close(WSCloseCode.OK, "")
            transport.disconnect()
        elif self._is_closing or kind == WSMsgType.PONG:
            pass
        elif kind == WSMsgType.PING:
            if not self._is_full:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.payload_size + self._fragments.size > self._largest:
            self._refuse("frame size", WSCloseCode.MESSAGE_TOO_BIG, f"A message holds at most {self._largest} bytes.")
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._refuse("protocol", WSCloseCode.PROTOCOL_ERROR, "No extension has been agreed upon.")
        else:
            try:
                self._take(kind, frame.get_payload_as_bytes(), frame.fin)
            except UnicodeDecodeError:
                self._refuse("protocol", WSCloseCode.INVALID_TEXT, "A text message is UTF-8.")
            except ValueError as error:
                self._refuse("protocol", WSCloseCode.PROTOCOL_ERROR, str(error))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """It is over: the places are free again."""
        handshake = transport.close_handshake
        if not self._is_closing and handshake is not None and handshake.sent is not None:  # picows has ended it
            self._metrics.refused[_REASONS.get(handshake.sent.code, "protocol")] += 1
        self._is_closing, self._is_paused = True, False
        for timer in (self._idle_timer, self._full_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._waiting.clear()
        self._stepper.leave(self, self._places)
        self._metrics.streams -= len(self._places)
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """Answers pile up. Who does not take them has a time to do so."""
        self._is_full = True
        self._full_timer = self._loop.call_later(self._limits.send_s, self._drop)

    def resume_writing(self) -> None:
        """They are taken again."""
        self._is_full = False
        if self._full_timer is not None:
            self._full_timer.cancel()
        self._advance()

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        """Ask whether the client is there; not while its answer would not be read."""
        if self._is_paused:
            self._loop.call_soon(transport.notify_user_specific_pong_received)
        else:
            transport.send_ping()

    # What the stepper calls.

    def answered(self) -> None:
        """Send the answer, and go on."""
        self._is_at_work = False
        if self._is_closing:
            return
        if self._tail is not None:
            self._transport.send(WSMsgType.BINARY, self.message.answer[: self._tail])
            self._close(WSCloseCode.OK, "")
            return
        answer = self.message.answer
        self._transport.send(WSMsgType.BINARY, answer)
        self._metrics.replied(time.monotonic() - self._began)
        if self._is_leaving:
            self._close(WSCloseCode.GOING_AWAY, "The server is shutting down.")
            return
        seconds = len(answer) / (self._format.frame_bytes * self._stream.sample_rate)
        wait = self._pace.wait(seconds, self._began)
        if wait > 0:
            self._is_held = True
            self._loop.call_later(wait, self._go_on)
        if self._waiting:
            self._advance()

    def failed(self) -> None:
        """A fault of the server's own."""
        self._is_at_work = False
        self._close(WSCloseCode.INTERNAL_ERROR, "")

    # What the server calls.

    def leave(self) -> None:
        """The server ends: after the answer to the message that is at work, if there is one."""
        if self._is_at_work:
            self._is_leaving = True
        else:
            self._close(WSCloseCode.GOING_AWAY, "The server is shutting down.")

    def abort(self) -> None:
        """Away with it, at once."""
        self._transport.disconnect(graceful=False)

    def _take(self, kind: WSMsgType, data: bytes, last: bool) -> None:
        """A frame of a message. Raises ValueError when it is out of order, or no text."""
        if (whole := self._fragments.whole(kind, data, last)) is None:
            return
        self._came = time.monotonic()
        kind, data = whole
        self._waiting.append(data.decode() if kind == WSMsgType.TEXT else data)
        self._advance()

    def _go_on(self) -> None:
        self._is_held = False
        self._advance()

    def _advance(self) -> None:
        """To what waits, as far as may be; and read on, or not."""
        waiting = self._waiting
        try:
            while waiting and not (self._is_at_work or self._is_held or self._is_full or self._is_closing):
                what = waiting.popleft()
                if isinstance(what, str):
                    self._obey(what)
                else:
                    self._format.check(what)
                    self._step(what)
        except InputError as error:
            self._refuse("message", WSCloseCode.POLICY_VIOLATION, str(error))
        if bool(waiting) != self._is_paused:
            self._is_paused = bool(waiting)
            network = self._transport.underlying_transport
            (network.pause_reading if self._is_paused else network.resume_reading)()

    def _step(self, data: bytes) -> None:
        """Raises InputError when the stream does not take that many samples."""
        self.message.put(data)
        self._is_at_work, self._began = True, time.monotonic()
        self._stepper.step(self)

    def _obey(self, text: str) -> None:
        """Do what a text message asks for. Raises InputError when it is no command."""
        command = _command(text)
        if "strength" in command:
            self._stream.strength = command["strength"]
            return
        promised = self._stream.block_multiple  # the silence keeps what the client has promised
        size, latency = self._format.frame_bytes, self._stream.latency
        self._tail = latency * size
        self._step(bytes(-(-latency // promised) * promised * size))

    def _watch(self) -> None:
        """Send a client away from which nothing comes."""
        left = self._came + self._limits.idle_s - time.monotonic()
        if left > 0:
            self._idle_timer = self._loop.call_later(left, self._watch)
        else:
            self._refuse("idle", WSCloseCode.POLICY_VIOLATION, f"Nothing came for {self._limits.idle_s:g} s.")

    def _drop(self) -> None:
        """Away with a client that does not take its answers."""
        if not self._is_closing:
            self._metrics.refused["slow"] += 1
            self._is_closing = True
        self.abort()

    def _refuse(self, why: str, code: WSCloseCode, reason: str) -> None:
        if not self._is_closing:
            self._metrics.refused[why] += 1
            self._close(code, reason)

    def _close(self, code: WSCloseCode, reason: str) -> None:
        """Say goodbye; away with a client that does not say it too."""
        if self._is_closing:
            return
        self._is_closing = True
        self._waiting.clear()
        self._transport.send_close(code, reason.encode()[:_MAX_REASON].decode(errors="ignore"))
        self._close_timer = self._loop.call_later(self._limits.close_s, self.abort)
        if self._is_paused:
            self._is_paused = False
            self._transport.underlying_transport.resume_reading()


def _command(text: str) -> dict[str, Any]:
    try:
        command = json.loads(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, RecursionError):
        command = None
    if isinstance(command, dict) and (set(command) == {"strength"} or command == {"end": True}):
        return command
    raise InputError('A text message is {"strength": DB}, {"strength": null} or {"end": true}.')
