"""A private user manager of systemd for tests, in namespaces of its own: it ends with the test, and nobody sees it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import servers

_BEGIN = """
mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system
"$SYSTEMD" --user --log-target=null &
for _ in $(seq 200); do systemctl --user show-environment >/dev/null 2>&1 && break; sleep 0.1; done
"""
_PLACES = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")


def with_user_manager(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose `systemctl --user` answers; ``home`` is everything it may write to.

    `rtsep` in it is the program that is tested.
    """
    servers.install("systemd", "util-linux", program="unshare")
    systemd = next((place for place in _PLACES if Path(place).exists()), None)
    unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if systemd is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("needs systemd, and the right to make namespaces")
    for name in ("run", "config"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "SYSTEMD": systemd,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    rtsep = f'rtsep() {{ "{sys.executable}" -m rtsep "$@"; }}\n'
    shell = shutil.which("bash") or "bash"
    return subprocess.run(
        [*unshare, shell, "-c", _BEGIN + rtsep + script], env=environment, capture_output=True, text=True, timeout=180
    )
