"""The server: WebSocket for sound, `/healthz` for whoever watches it, `/metrics` for Prometheus.

It listens on this machine only, unless told otherwise; encryption is the business of the proxy in front. Pages of a
browser are refused (they send an Origin), for any page could else use a server on the machine of whoever looks at it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from picows import (
    WSAutoPingStrategy,
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from rtsep.engine.engine_stream import EngineStream
from rtsep.errors import InputError
from rtsep.model import Model
from rtsep.model_spec import MAX_CHANNELS, MAX_RATE
from rtsep.service.connection import Connection
from rtsep.service.limits import Limits
from rtsep.service.metrics import Metrics
from rtsep.service.sound_format import SoundFormat
from rtsep.service.stepper import Stepper

STREAM, HEALTH, METRICS = "/v1/stream", "/healthz", "/metrics"
BACKLOG = 1024  # clients that come at once
_END_S = 5.0  # for all clients to go

_LOGGER = logging.getLogger(__name__)
_LOGGER.addFilter(lambda record: not str(record.msg).startswith("WS parser error"))  # counted, and the client's fault


class _Refusal(Exception):
    """A request is answered by a sentence, and nothing else."""

    def __init__(self, status: HTTPStatus, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.response = WSUpgradeResponse.create_error_response(status, why.encode(), headers)


class Server:
    """What lasts as long as the server does. token: what clients must say, None for nothing."""

    def __init__(self, model: Model, limits: Limits, token: str | None = None) -> None:
        self._model, self._limits, self._token = model, limits, token
        self.metrics = Metrics(limits.streams)
        self._connections: set[Connection] = set()
        self._is_ending = False
        self._stepper: Stepper | None = None
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port on which it does. Raises InputError as Engine does, and OSError when that cannot be."""
        limits = self._limits
        self._stepper = Stepper(self._model, limits.streams, self.metrics)
        self._listening = await ws_create_server(
            self._answer,
            host,
            port,
            backlog=BACKLOG,
            enable_auto_ping=True,
            auto_ping_idle_timeout=limits.heartbeat_s,
            auto_ping_reply_timeout=limits.heartbeat_s / 2,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,  # who does not read gets none
            max_frame_size=int(limits.frame_s * MAX_RATE) * MAX_CHANNELS * 4,  # of any; a connection has its own
            logger_name=logging.LoggerAdapter(_LOGGER, {}),
        )
        number: int = self._listening.sockets[0].getsockname()[1]
        return number

    async def end(self) -> None:
        """Answer what is at work, send all clients away, and listen no longer."""
        self._is_ending = True
        for connection in list(self._connections):
            connection.leave()
        end = asyncio.get_running_loop().time() + _END_S
        while self._connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            connection.abort()
        if self._listening is not None:
            self._listening.close()
            await asyncio.sleep(0)  # what was aborted is told so

    def _answer(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        """To a request by HTTP: who speaks for a stream from now on, or a text; None where there is nothing."""
        address = urlsplit(request.path.decode("ascii", "replace"))
        answers: dict[str, Callable[[WSUpgradeRequest, str], WSListener | WSUpgradeResponse]] = {
            STREAM: self._stream,
            HEALTH: self._health,
            METRICS: self._metrics,
        }
        if address.path not in answers:
            return None
        try:
            answer = answers[address.path](request, address.query)
        except _Refusal as refusal:
            answer = refusal.response
        return answer if isinstance(answer, WSListener) else WSUpgradeResponseWithListener(answer, None)

    def _health(self, _: WSUpgradeRequest, __: str) -> WSUpgradeResponse:
        spec = self._model.spec
        told = {
            "status": "shutting down" if self._is_ending else "ok",
            "model": f"{spec.name} {spec.version}",
            "streams": self.metrics.streams,
            "limit": self._limits.streams,
        }
        headers = {"Content-Type": "application/json"}
        if self._is_ending:
            return WSUpgradeResponse.create_error_response(
                HTTPStatus.SERVICE_UNAVAILABLE, json.dumps(told).encode(), headers
            )
        return WSUpgradeResponse.create_ok_response(json.dumps(told).encode(), headers)

    def _metrics(self, request: WSUpgradeRequest, _: str) -> WSUpgradeResponse:
        self._check(request)
        headers = {"Content-Type": "text/plain; version=0.0.4"}
        return WSUpgradeResponse.create_ok_response(self.metrics.text().encode(), headers)

    def _check(self, request: WSUpgradeRequest) -> None:
        if "Origin" in request.headers:
            self.metrics.refused["origin"] += 1
            raise _Refusal(HTTPStatus.FORBIDDEN, "This server is not for pages in browsers.")
        said = request.headers.get("Authorization", "")
        if self._token is not None and not hmac.compare_digest(said.encode(), f"Bearer {self._token}".encode()):
            self.metrics.refused["token"] += 1
            raise _Refusal(
                HTTPStatus.UNAUTHORIZED,
                "The header 'Authorization: Bearer TOKEN' is missing, or its token is another.",
                {"WWW-Authenticate": "Bearer"},
            )

    def _stream(self, request: WSUpgradeRequest, query: str) -> Connection:
        self._check(request)
        limits, metrics = self._limits, self.metrics
        assert self._stepper is not None
        try:
            wanted = SoundFormat.parse(dict(parse_qsl(query, keep_blank_values=True)))
            stream = EngineStream(
                self._model.spec, wanted.rate, wanted.channels, wanted.strength, wanted.block_multiple
            )
        except InputError as error:
            metrics.refused["parameters"] += 1
            raise _Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        if self._is_ending or metrics.streams + stream.places > limits.streams:
            metrics.refused["full"] += 1
            why = "The server is shutting down." if self._is_ending else f"All {limits.streams} streams are taken."
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, why, {"Retry-After": "1"})
        if request.headers.get("Upgrade", "").lower() != "websocket":
            upgrade = {"Upgrade": "websocket"}
            raise _Refusal(HTTPStatus.UPGRADE_REQUIRED, "Sound comes and goes by WebSocket.", upgrade)
        return Connection(wanted, stream, self._stepper, limits, metrics, self._connections)


async def run(server: Server, host: str, port: int, quit: threading.Event, ready: Callable[[str], Any]) -> None:
    """Serve until ``quit`` is set. ready: gets the address of the streams once it is there.

    Raises InputError when the port cannot be had.
    """
    try:
        number = await server.start(host, port)
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be listened on ({error.strerror or error}); choose a --port.") from None
    try:
        ready(f"ws://{f'[{host}]' if ':' in host else host}:{number}{STREAM}")
        await asyncio.get_running_loop().run_in_executor(None, quit.wait)
    finally:
        await server.end()
