"""Windows: a task at logon. Written by its documentation; not run, as there was no Windows."""

from __future__ import annotations

import os
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from rtsep.live.user_service.service import ServiceStatus, ask

NAME = "rtsep virtual microphone"
_SCHEMA = "http://schemas.microsoft.com/windows/2004/02/mit/task"


def task(command: Sequence[str]) -> bytes:
    """The task that runs ``command`` at this user's logon, and again a minute after it failed, as XML in UTF-16."""
    root = ElementTree.Element("Task", version="1.2", xmlns=_SCHEMA)
    trigger = ElementTree.SubElement(ElementTree.SubElement(root, "Triggers"), "LogonTrigger")
    user = os.environ.get("USERNAME")
    if user:
        ElementTree.SubElement(trigger, "UserId").text = user
    settings = ElementTree.SubElement(root, "Settings")
    for name, value in (
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("ExecutionTimeLimit", "PT0S"),  # none
        ("MultipleInstancesPolicy", "IgnoreNew"),
    ):
        ElementTree.SubElement(settings, name).text = value
    again = ElementTree.SubElement(settings, "RestartOnFailure")
    ElementTree.SubElement(again, "Interval").text = "PT1M"
    ElementTree.SubElement(again, "Count").text = "999"
    action = ElementTree.SubElement(ElementTree.SubElement(root, "Actions"), "Exec")
    ElementTree.SubElement(action, "Command").text = command[0]
    ElementTree.SubElement(action, "Arguments").text = subprocess.list2cmdline(command[1:])
    return ElementTree.tostring(root, encoding="utf-16")


class LogonTask:
    """See UserService."""

    def install(self, command: Sequence[str]) -> None:
        """See UserService."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "task.xml"
            file.write_bytes(task(command))
            ask("schtasks", "/Create", "/TN", NAME, "/XML", str(file), "/F")
        ask("schtasks", "/Run", "/TN", NAME)

    def remove(self) -> bool:
        """See UserService."""
        if self.status().place is None:
            return False
        ask("schtasks", "/End", "/TN", NAME, check=False)
        ask("schtasks", "/Delete", "/TN", NAME, "/F")
        return True

    def status(self) -> ServiceStatus:
        """See UserService."""
        found = ask("schtasks", "/Query", "/TN", NAME, "/FO", "CSV", "/NH", check=False).strip()
        if not found:
            return ServiceStatus(None, False, "not installed")
        state = found.splitlines()[0].rsplit(",", 1)[-1].strip('"')
        return ServiceStatus(f"Task Scheduler: {NAME}", state == "Running", state)
