"""What a measurement was made on: processor, load and versions, never a host name or a path."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from rtsep.report.machine import machine
from training.evaluation.evaluate import versions


def environment() -> dict[str, Any]:
    """Day (UTC), rtsep's own account of the machine, and the versions of the measuring packages and the peers."""
    found = machine()
    day = datetime.now(timezone.utc).date().isoformat()
    return {"day": day, **found, "versions": {**found["versions"], **versions()}}
