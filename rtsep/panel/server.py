"""The panel's server: hands out the page, and carries commands and state over one WebSocket a page.

It listens on this machine only, unless told otherwise. Every path begins with a random token, so that no other
program's page, and no other user, can guess it; requests whose Host or Origin is another's are refused, which keeps out
pages of other sites (also by DNS rebinding). Nothing that the page needs comes from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from rtsep.engine import compile_notice
from rtsep.errors import InputError, RtsepError
from rtsep.panel.commands import call
from rtsep.panel.tabs import Tabs

STATIC = Path(__file__).with_name("static")
TABS = ("microphone", "karaoke", "files", "report")  # in the order in which they stand
LOCAL = ("127.0.0.1", "localhost", "[::1]")
FRAMES_A_SECOND = 30
_STATES_A_SECOND = 15
_BEHIND = 4  # messages that a slow page may have waiting before frames are left out
_MAX_COMMAND = 1 << 14  # bytes
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Page:
    """One open page: what it was sent, and what waits to be sent.

    heard: number of its last command that was done. With every state goes the number that it holds, so that a page can
    tell what is older than what a person has just turned.
    """

    def __init__(self) -> None:
        self.sent: dict[str, Any] = {}
        self.heard = self.sent_heard = 0
        self.stale = asyncio.Event()
        self.stale.set()
        self.watches = False
        self.waiting: asyncio.Queue[bytes | str] = asyncio.Queue()


class Panel:
    """The server's parts that last as long as it does. token: the first part of every path."""

    def __init__(self, folder: str = ".", hosts: tuple[str, ...] = LOCAL) -> None:
        """folder: to record to. hosts: names that pages may ask for; none is any."""
        self.token = secrets.token_urlsafe(24)
        self._hosts = hosts
        self._pages: set[Page] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.tabs = Tabs(self._changed, folder)
        self._by_name = self.tabs.by_name()
        compile_notice.tell_also_by(self.tell)

    def application(self) -> web.Application:
        """What aiohttp runs."""
        application = web.Application(middlewares=[self._guard], client_max_size=_MAX_COMMAND)
        root = "/{token}"
        application.router.add_get(f"{root}/", self._index)
        application.router.add_get(f"{root}/socket", self._socket)
        application.router.add_get(root + "/{name:[a-z_]+\\.(?:css|mjs|svg)}", self._file)
        for route in self.tabs.routes():
            application.router.add_route(route.method, f"{root}/{route.path}", route.handler)
        application.on_startup.append(self._start)
        application.on_shutdown.append(self._end)
        return application

    async def _start(self, _: web.Application) -> None:
        self._loop = asyncio.get_running_loop()
        self._frames = asyncio.create_task(self._send_frames())
        for tab in self._by_name.values():
            threading.Thread(target=tab.begin, daemon=True, name="beginning").start()

    async def _end(self, _: web.Application) -> None:
        loop, self._loop = self._loop, None
        self._frames.cancel()
        for socket in set(self._sockets):
            with contextlib.suppress(Exception):
                await socket.close(code=1001, message=b"The panel has ended.")
        assert loop is not None
        await loop.run_in_executor(None, self.close)

    def tell(self, sentence: str) -> None:
        """Where it is seen whichever tab is open."""
        for name in TABS:
            self._by_name[name].tell(sentence)

    def close(self) -> None:
        """End whatever runs."""
        for tab in self._by_name.values():
            tab.close()

    # Requests

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Another's Host or Origin, or another token: away with it."""
        origin, name = request.headers.get("Origin"), request.host.rpartition(":")[0] or request.host
        if self._hosts and name not in self._hosts:
            raise web.HTTPForbidden(text="This panel is for this machine only.")
        if origin is None and request.method not in ("GET", "HEAD"):  # browsers always send it
            raise web.HTTPForbidden(text="This panel answers its own pages only.")
        if origin is not None and origin not in (f"http://{request.host}", f"https://{request.host}"):
            raise web.HTTPForbidden(text="This panel answers its own pages only.")
        token = request.match_info.get("token", "")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            raise web.HTTPNotFound(text="There is no panel here; use the address that rtsep panel printed.")
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(text=index(), content_type="text/html")

    async def _file(self, request: web.Request) -> web.FileResponse:
        path = STATIC / request.match_info["name"]
        if not path.is_file():
            raise web.HTTPNotFound
        types = {".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        return web.FileResponse(path, headers={"Content-Type": types[path.suffix]})

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        if "Origin" not in request.headers:  # browsers always send it
            raise web.HTTPForbidden(text="This panel answers its own pages only.")
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=_MAX_COMMAND, compress=False)
        await socket.prepare(request)
        page = Page()
        self._pages.add(page)
        self._sockets.add(socket)
        tasks = [asyncio.create_task(work) for work in (self._send(socket, page), self._send_states(page))]
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._do(page, message.data)
        finally:
            self._pages.discard(page)
            self._sockets.discard(socket)
            for task in tasks:
                task.cancel()
        return socket

    async def _do(self, page: Page, text: str) -> None:
        number = page.heard
        try:
            message = json.loads(text)
            if not isinstance(message, dict) or not isinstance(message.get("number", 0), int):
                raise InputError("This is no command of the panel.")
            if message.get("tab") is None and message.get("do") == "watch":  # is about the page
                page.watches = message.get("values") == {"on": True}
                return
            number = message.get("number", number)
            tab = self._by_name.get(str(message.get("tab")))
            asked = message.get("do"), message.get("values")
            await asyncio.get_running_loop().run_in_executor(None, call, tab, *asked)
        except RtsepError as error:
            page.waiting.put_nowait(json.dumps({"refused": str(error)}))
            page.sent.clear()  # the control goes back to where it was
            page.stale.set()
        except ValueError:
            page.waiting.put_nowait(json.dumps({"refused": "This is no command of the panel."}))
        finally:
            if page.heard != number:
                page.heard = number
                page.stale.set()

    # What pages get

    def _changed(self) -> None:
        """Called from any thread."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended
                loop.call_soon_threadsafe(self._all_stale)

    def _all_stale(self) -> None:
        for page in self._pages:
            page.stale.set()

    async def _send(self, socket: web.WebSocketResponse, page: Page) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                message = await page.waiting.get()
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)

    async def _send_states(self, page: Page) -> None:
        """Of the state's parts those that are new to the page, not more often than is needed."""
        while True:
            await page.stale.wait()
            page.stale.clear()
            heard = page.heard
            state = {name: tab.state() for name, tab in self._by_name.items()}
            news = {tab: _news(values, page.sent.get(tab, {})) for tab, values in state.items()}
            page.sent = state
            if any(news.values()) or page.sent_heard != heard:
                page.sent_heard = heard
                page.waiting.put_nowait(json.dumps({"heard": heard, **news}))
            await asyncio.sleep(1 / _STATES_A_SECOND)

    async def _send_frames(self) -> None:
        while True:
            await asyncio.sleep(1 / FRAMES_A_SECOND)
            watching = [page for page in self._pages if page.watches]
            frames = [frame for tab in self._by_name.values() if (frame := tab.frame())] if watching else []
            for page in watching if frames else ():
                if page.waiting.qsize() < _BEHIND:
                    page.waiting.put_nowait(frames[0])  # one tab alone has frames, the microphone's


def index() -> str:
    """The page, with the tabs in it, each of which is a file of its own."""
    page = (STATIC / "index.html").read_text("utf-8")
    tabs = [(STATIC / f"{name}.html").read_text("utf-8") for name in TABS]
    return page.replace("<!-- tabs -->", "".join(tabs))


def _news(values: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in before or before[key] != value}


async def run(panel: Panel, host: str, port: int, quit: threading.Event, ready: Callable[[str], None]) -> None:
    """Serve until ``quit`` is set. ready: gets the page's address once it is there.

    Raises InputError when the port cannot be had.
    """
    runner = web.AppRunner(panel.application(), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise InputError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); choose a --port."
            ) from None
        number = runner.addresses[0][1]
        name = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        ready(f"http://{f'[{name}]' if ':' in name else name}:{number}/{panel.token}/")
        await asyncio.get_running_loop().run_in_executor(None, quit.wait)
    finally:
        await runner.cleanup()
