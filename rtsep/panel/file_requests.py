"""The files tab's requests beside its commands: recordings come in, files and stretches of sound go out."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from rtsep.errors import InputError, RtsepError
from rtsep.panel.files import Files
from rtsep.panel.sounds import RATE
from rtsep.panel.upload_requests import UploadRequests, in_thread, without_folder

_MOST_SAMPLES = 30 * RATE  # that are sent at once


class FileRequests:
    """What a person should know is told to all pages, and answered as ``{"refused": sentence}``."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def routes(self) -> list[web.RouteDef]:
        """Their paths begin with the tab's name."""
        version = r"files/{recording:\d+}/{version:\d+}"
        return [
            *UploadRequests("files/recording", self._files).routes(),
            web.get(f"{version}/file", self._fetch),
            web.get(f"{version}/sound", self._look),
            web.get(f"{version}/samples", self._read),
            web.get(r"files/blind/{trial:\d+}/{sound:[abx]}/samples", self._read_blind),
        ]

    def _path(self, request: web.Request) -> Path:
        """The file of the version that a request is about."""
        try:
            return self._files.path(int(request.match_info["recording"]), int(request.match_info["version"]))
        except InputError as error:
            raise web.HTTPNotFound(text=str(error)) from None

    async def _fetch(self, request: web.Request) -> web.FileResponse:
        path = self._path(request)
        return web.FileResponse(
            path, headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}"}
        )

    async def _look(self, request: web.Request) -> web.Response:
        path = self._path(request)
        try:
            return web.json_response(await in_thread(self._files.sounds.look, path))
        except RtsepError as error:
            return web.json_response({"refused": without_folder(str(error), path)})

    async def _read(self, request: web.Request) -> web.Response:
        return await self._samples(request, self._path(request), 1.0)

    async def _read_blind(self, request: web.Request) -> web.Response:
        try:
            path, gain = self._files.blind_sound(int(request.match_info["trial"]), request.match_info["sound"])
        except InputError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        return await self._samples(request, path, gain)

    async def _samples(self, request: web.Request, path: Path, gain: float) -> web.Response:
        """float32, little-endian, left and right in turn, from sample ``at`` on."""
        at, count = request.query.get("at", ""), request.query.get("count", "")
        if not (at.isdecimal() and count.isdecimal()):
            raise web.HTTPBadRequest(text="Say at and count, in samples.")
        try:
            sound = await in_thread(self._files.sounds.read, path, int(at), min(int(count), _MOST_SAMPLES))
        except RtsepError as error:
            raise web.HTTPServiceUnavailable(text=without_folder(str(error), path)) from None
        data = (sound if gain == 1.0 else sound * sound.dtype.type(gain)).astype("<f4").tobytes()
        return web.Response(body=data, content_type="application/octet-stream")
