"""The server: WebSocket for sound, `/healthz` for whoever watches it, `/metrics` for Prometheus.

It listens on this machine only, unless told otherwise; encryption is the business of the proxy in front. Pages of a
browser are refused (they send an Origin), for any page could else use a server on the machine of whoever looks at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import sys
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web

from rtsep.engine.engine_stream import EngineStream
from rtsep.errors import InputError
from rtsep.model import Model
from rtsep.service.connection import Connection
from rtsep.service.limits import Limits
from rtsep.service.metrics import Metrics
from rtsep.service.sound_format import SoundFormat
from rtsep.service.stepper import Stepper

STREAM, HEALTH, METRICS = "/v1/stream", "/healthz", "/metrics"
_SWITCH_S = 0.0001  # the stepper gets the interpreter back so soon from the event loop


class Server:
    """What lasts as long as the server does. token: what clients must say, None for nothing."""

    def __init__(self, model: Model, limits: Limits, token: str | None = None) -> None:
        self._model, self._limits, self._token = model, limits, token
        self.metrics = Metrics(limits.streams)
        self._connections: set[Connection] = set()
        self._ending = False
        self._stepper: Stepper | None = None

    def application(self) -> web.Application:
        """What aiohttp runs."""
        application = web.Application()
        application.router.add_get(STREAM, self._stream)
        application.router.add_get(HEALTH, self._health)
        application.router.add_get(METRICS, self._metrics)
        application.on_startup.append(self._start)
        application.on_shutdown.append(self._end)
        application.on_cleanup.append(self._stop)
        return application

    async def _start(self, _: web.Application) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self._stepper = Stepper(self._model, self._limits.streams, self.metrics)

    async def _end(self, _: web.Application) -> None:
        self._ending = True
        await asyncio.gather(*(connection.leave() for connection in self._connections))

    async def _stop(self, _: web.Application) -> None:
        assert self._stepper is not None
        await self._stepper.end()

    async def _health(self, _: web.Request) -> web.Response:
        fit = self._stepper is not None and self._stepper.alive and not self._ending
        state = "ok" if fit else "shutting down" if self._ending else "the stepper has ended"
        spec = self._model.spec
        told = {"status": state, "model": f"{spec.name} {spec.version}", "streams": self.metrics.streams}
        return web.json_response(told | {"limit": self._limits.streams}, status=200 if fit else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response(text=self.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _check(self, request: web.Request) -> None:
        if "Origin" in request.headers:
            self.metrics.refused["origin"] += 1
            raise web.HTTPForbidden(text="This server is not for pages in browsers.")
        said = request.headers.get("Authorization", "")
        if self._token is not None and not hmac.compare_digest(said.encode(), f"Bearer {self._token}".encode()):
            self.metrics.refused["token"] += 1
            raise web.HTTPUnauthorized(
                text="The header 'Authorization: Bearer TOKEN' is missing, or its token is another.",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        limits, spec, stepper = self._limits, self._model.spec, self._stepper
        assert stepper is not None
        try:
            wanted = SoundFormat.parse(request.query)
            stream = EngineStream(spec, wanted.rate, wanted.channels, wanted.strength, wanted.block_multiple)
        except InputError as error:
            self.metrics.refused["parameters"] += 1
            raise web.HTTPBadRequest(text=str(error)) from None
        if self._ending or self.metrics.streams + stream.places > limits.streams:
            self.metrics.refused["full"] += 1
            why = "The server is shutting down." if self._ending else f"All {limits.streams} streams are taken."
            raise web.HTTPServiceUnavailable(text=why, headers={"Retry-After": "1"})
        largest = int(limits.frame_s * stream.sample_rate) * wanted.frame_bytes
        socket = web.WebSocketResponse(
            heartbeat=limits.heartbeat_s, max_msg_size=largest + 1, compress=False, timeout=limits.close_s
        )
        if not socket.can_prepare(request):
            raise web.HTTPUpgradeRequired(text="Sound comes and goes by WebSocket.", headers={"Upgrade": "websocket"})
        assert request.transport is not None
        transport: Any = request.transport
        connection = Connection(socket, wanted, stream, stepper, limits, self.metrics, transport)
        self.metrics.streams += stream.places
        self._connections.add(connection)
        try:
            await socket.prepare(request)
            self.metrics.connections += 1
            await connection.run()
        finally:
            self.metrics.streams -= stream.places
            self._connections.discard(connection)
        return socket


async def run(server: Server, host: str, port: int, quit: threading.Event, ready: Callable[[str], Any]) -> None:
    """Serve until ``quit`` is set. ready: gets the address of the streams once it is there.

    Raises InputError when the port cannot be had.
    """
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=5.0, handler_cancellation=True)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise InputError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); choose a --port."
            ) from None
        number = runner.addresses[0][1]
        ready(f"ws://{f'[{host}]' if ':' in host else host}:{number}{STREAM}")
        await asyncio.get_running_loop().run_in_executor(None, quit.wait)
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()
