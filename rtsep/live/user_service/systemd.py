"""Linux: a unit of systemd's user manager."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rtsep.errors import InputError, RtsepError
from rtsep.live.user_service.service import ServiceStatus, ask, replaced

NAME = "rtsep.service"
# Tried again for ever, as a microphone may be plugged in at any time.
UNIT = """[Unit]
Description=rtsep virtual microphone
Documentation=man:rtsep(1)
After=pipewire.service pipewire-pulse.service wireplumber.service pulseaudio.service
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=on-failure
RestartSec=5
LimitRTPRIO=70
LimitMEMLOCK=infinity

[Install]
WantedBy=default.target
"""


def unit(command: Sequence[str]) -> str:
    """The unit file that runs ``command``. Raises InputError for a program that systemd cannot start by its path."""
    program = command[0]
    if any(letter in "\"'\\" or not letter.isprintable() for letter in program):
        raise InputError(f"systemd starts no program whose path has quotes or backslashes in it, as {program!r} has.")
    words = [quoted(program).replace("$$", "$"), *map(quoted, command[1:])]  # no variables stand in the path
    return UNIT.format(command=" ".join(words))


def quoted(word: str) -> str:
    """One word of ExecStart, by systemd.service(5), "Command lines": neither specifiers (%) nor variables ($)."""
    for letter, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(letter, escaped)
    return '"' + "".join(letter if ord(letter) >= 32 else f"\\x{ord(letter):02x}" for letter in word) + '"'


class SystemdUnit:
    """See UserService. Installed in the user's configuration folder, for this user alone."""

    @property
    def path(self) -> Path:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(folder) / "systemd" / "user" / NAME

    def install(self, command: Sequence[str]) -> None:
        """See UserService."""
        _require_manager()
        with replaced(self.path, unit(command).encode()):
            ask("systemctl", "--user", "daemon-reload")
            ask("systemctl", "--user", "enable", NAME)
        ask("systemctl", "--user", "restart", NAME)

    def remove(self) -> bool:
        """See UserService."""
        if not self.path.exists():
            return False
        _require_manager()
        ask("systemctl", "--user", "disable", "--now", NAME)
        self.path.unlink(missing_ok=True)
        ask("systemctl", "--user", "daemon-reload")
        return True

    def status(self) -> ServiceStatus:
        """See UserService."""
        if not self.path.exists():
            return ServiceStatus(None, False, "not installed")
        _require_manager()
        state = ask("systemctl", "--user", "is-active", NAME, check=False).strip()
        return ServiceStatus(str(self.path), state == "active", state)


def _require_manager() -> None:
    if not shutil.which("systemctl"):
        raise RtsepError(
            "There is no systemd here; have `rtsep denoise --virtual-mic` started by what starts programs."
        )
    try:
        ask("systemctl", "--user", "show-environment")
    except RtsepError:
        raise RtsepError(
            "The user manager of systemd does not answer; log in as the user that it is for, without su or sudo. "
            "`rtsep doctor --systemd` prints the unit."
        ) from None
