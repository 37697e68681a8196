"""Takes songs that pages send into the playlist."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from rtsep.panel.playlist import Entry, Playlist, check_song
from rtsep.panel.uploads import Uploads


class SongTaker:
    """See Taker. uploads: where the songs lie."""

    def __init__(
        self,
        playlist: Playlist,
        lock: threading.RLock,
        changed: Callable[[], None],
        tell: Callable[[str, str], None],
    ) -> None:
        """lock: guards the playlist. changed, tell: see Tab."""
        self.uploads = Uploads()
        self._playlist, self._lock, self._changed, self._tell = playlist, lock, changed, tell

    def tell(self, sentence: str, kind: str) -> None:
        """See Taker."""
        self._tell(sentence, kind)

    def check(self, name: str, size: int | None) -> None:
        """See Taker."""
        self._playlist.check_room()
        self.uploads.check(name, size)

    def expect(self, name: str, size: int) -> Entry:
        """See Taker."""
        with self._lock:
            return self._playlist.expect(name, size)

    def arrived(self, item: Entry, count: int) -> None:
        """See Taker."""
        item.arrived = count
        self._changed()

    def came(self, item: Entry, path: Path) -> None:
        """See Taker."""
        check_song(path)
        with self._lock:
            self._playlist.entry(item.number)
            item.path, item.name = path, path.stem
        self._changed()

    def failed(self, item: Entry) -> None:
        """See Taker."""
        with self._lock:
            if item in list(self._playlist):
                self._playlist.remove(item.number)
        self._changed()
