"""macOS: a launch agent. Written by its documentation; not run, as there was no Mac."""

from __future__ import annotations

import os
import plistlib
from collections.abc import Sequence
from pathlib import Path

from rtsep.live.user_service.service import ServiceStatus, ask, replaced

LABEL = "rtsep.virtual-microphone"


def agent(command: Sequence[str]) -> bytes:
    """The property list that runs ``command`` at login and whenever it fails (launchd.plist(5))."""
    values = {
        "Label": LABEL,
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ProcessType": "Interactive",  # no throttling of what makes sound
        "LimitLoadToSessionType": "Aqua",
    }
    return plistlib.dumps(values)


class LaunchAgent:
    """See UserService."""

    path = Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist"

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}"

    def install(self, command: Sequence[str]) -> None:
        """See UserService."""
        ask("launchctl", "bootout", f"{self._domain}/{LABEL}", check=False)
        with replaced(self.path, agent(command)):
            ask("launchctl", "bootstrap", self._domain, str(self.path))

    def remove(self) -> bool:
        """See UserService."""
        if not self.path.exists():
            return False
        ask("launchctl", "bootout", f"{self._domain}/{LABEL}", check=False)
        self.path.unlink(missing_ok=True)
        return True

    def status(self) -> ServiceStatus:
        """See UserService."""
        if not self.path.exists():
            return ServiceStatus(None, False, "not installed")
        running = "state = running" in ask("launchctl", "print", f"{self._domain}/{LABEL}", check=False)
        return ServiceStatus(str(self.path), running, "running" if running else "not running")
