"""What a measurement was made on: processor and versions, never a host name or a path."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from pathlib import Path

from training.evaluate import versions


def cpu_model() -> str:
    """The processor's marketing name; the architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment() -> dict[str, object]:
    """Day (UTC), processor, cores this process may use, load when asked, system, Python and package versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "day": datetime.now(timezone.utc).date().isoformat(),
        "cpu": cpu_model(),
        "cores": cores,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(),
    }
