"""Which way this system has."""

from __future__ import annotations

import sys

from rtsep.live.user_service.launchd import LaunchAgent
from rtsep.live.user_service.service import UserService
from rtsep.live.user_service.systemd import SystemdUnit
from rtsep.live.user_service.task_scheduler import LogonTask


def user_service() -> UserService:
    """This system's."""
    if sys.platform == "darwin":
        return LaunchAgent()
    if sys.platform == "win32":
        return LogonTask()
    return SystemdUnit()
