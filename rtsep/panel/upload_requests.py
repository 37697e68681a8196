"""The requests by which pages send files: one that asks whether a file would be taken, one whose body is the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web

from rtsep.errors import InputError, RtsepError
from rtsep.panel.tab import PROBLEM
from rtsep.panel.uploads import Uploads, clean_name

Item = TypeVar("Item")


class Taker(Protocol[Item]):
    """A controller that takes files, each of which is an item of its own."""

    uploads: Uploads

    def tell(self, sentence: str, kind: str) -> None:
        """See Tab."""

    def check(self, name: str, size: int | None) -> None:
        """Raises InputError for a file that will not be taken. size: bytes."""

    def expect(self, name: str, size: int) -> Item:
        """One that comes now; ``came`` or ``failed`` is what follows."""

    def arrived(self, item: Item, count: int) -> None:
        """So many bytes of it."""

    def came(self, item: Item, path: Path) -> None:
        """All of it, to ``path``; may take its time. Raises RtsepError when it will not do."""

    def failed(self, item: Item) -> None:
        """It will not come."""


class UploadRequests:
    """What a person should know is told to all pages, and answered as ``{"refused": sentence}``."""

    def __init__(self, path: str, taker: Taker[Any]) -> None:
        """path: of the requests."""
        self._path, self._taker = path, taker

    def routes(self) -> list[web.RouteDef]:
        """Both."""
        return [web.get(f"{self._path}/ask", self._ask), web.put(self._path, self._receive)]

    async def _ask(self, request: web.Request) -> web.Response:
        """Before anything is sent, for a refusal in the midst of an upload is not heard by browsers."""
        size = request.query.get("size", "")
        try:
            self._taker.check(clean_name(request.query.get("name", "")), int(size) if size.isdecimal() else None)
        except InputError as error:
            return self._refusal(error)
        return web.json_response({})

    def _refusal(self, error: RtsepError) -> web.Response:
        self._taker.tell(str(error), PROBLEM)
        return web.json_response({"refused": str(error)})

    async def _receive(self, request: web.Request) -> web.Response:
        name, size = clean_name(request.query.get("name", "")), request.content_length
        try:
            self._taker.check(name, size)
            item = self._taker.expect(name, size or 0)
            try:
                await self._keep(request, name, item)
            except BaseException:  # a page that was closed too
                self._taker.failed(item)
                raise
        except RtsepError as error:
            return self._refusal(error)
        return web.json_response({})

    async def _keep(self, request: web.Request, name: str, item: Any) -> None:
        path = await self._taker.uploads.receive(request, name, lambda count: self._taker.arrived(item, count))
        try:
            await in_thread(self._taker.came, item, path)
        except BaseException as error:
            self._taker.uploads.remove(path)
            if isinstance(error, RtsepError):
                raise InputError(without_folder(str(error), path)) from None
            raise


def without_folder(sentence: str, path: Path) -> str:
    """A sentence about a file, by the name that it came with."""
    return sentence.replace(str(path), path.name)


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` returns, without holding up the server meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
