"""The request by which pages look for a folder of songs on the machine that runs the panel: names, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from aiohttp import web

from rtsep.audio_io.plan import SUFFIXES
from rtsep.errors import InputError
from rtsep.panel.upload_requests import in_thread

MOST = 500  # folders that are shown


class FolderRequests:
    """What is refused is answered as ``{"refused": sentence}``."""

    def __init__(self, path: str) -> None:
        """path: of the request."""
        self._path = path

    def routes(self) -> list[web.RouteDef]:
        """One."""
        return [web.get(self._path, self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        asked = request.query.get("path") or str(_first())
        try:
            return web.json_response(await in_thread(list_folder, Path(asked)))
        except InputError as error:
            return web.json_response({"refused": str(error)})


def list_folder(folder: Path) -> dict[str, Any]:
    """Its path, its parent, its subfolders that are not hidden, by name, and how many sound files lie in it.

    Raises InputError when it cannot be read.
    """
    folder = folder.expanduser().absolute()
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
            folders = sorted((entry.name for entry in entries if entry.is_dir()), key=str.casefold)
            songs = sum(Path(entry.name).suffix.lower() in SUFFIXES for entry in entries if not entry.is_dir())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    parent = None if folder.parent == folder else str(folder.parent)
    return {"path": str(folder), "parent": parent, "folders": folders[:MOST], "songs": songs}


def _first() -> Path:
    """Where one begins to look: the folder for music, or the user's."""
    music = Path.home() / "Music"
    return music if music.is_dir() else Path.home()
