"""All the controllers of a panel, by the names that pages call them."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from rtsep.panel.devices import Devices
from rtsep.panel.file_requests import FileRequests
from rtsep.panel.files import Files
from rtsep.panel.folder_requests import FolderRequests
from rtsep.panel.karaoke import Karaoke
from rtsep.panel.microphone import Microphone
from rtsep.panel.report import Report
from rtsep.panel.report_requests import ReportRequests
from rtsep.panel.tab import Tab
from rtsep.panel.upload_requests import UploadRequests


class Tabs:
    """One controller a tab, and one for the devices that several of them show."""

    def __init__(self, changed: Callable[[], None] = lambda: None, folder: str = ".") -> None:
        """changed: see Tab. folder: to record to."""
        self.devices = Devices(changed)
        self.microphone = Microphone(changed, folder, self.devices.look_again)
        self.files = Files(changed)
        self.karaoke = Karaoke(changed)
        self.report = Report(changed)

    def routes(self) -> list[web.RouteDef]:
        """Requests that are no commands; their paths begin with the tab's name."""
        return [
            *FileRequests(self.files).routes(),
            *UploadRequests("karaoke/song", self.karaoke.taker).routes(),
            *FolderRequests("karaoke/folder").routes(),
            *ReportRequests(self.report).routes(),
        ]

    def by_name(self) -> dict[str, Tab]:
        """All of them."""
        return dict(vars(self))
