"""What rtsep adds to the delay, by slack and by the device's block: probed through a private JACK server.

    python -m benchmarks.slack_delay [--model NAME|M.onnx] [--json PATH|-]

The delay of an empty pass-through, one period, is taken off. A probe that does not come out bit for bit is no result.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import environment
from rtsep.cli.shared import check_writable, verb, write_json
from rtsep.errors import RtsepError
from rtsep.live.backends.jack_probe import delay_of, probe
from rtsep.live.backends.jack_server import JackServer
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.model import load

RATE = 48_000
PERIODS, SLACKS = (128, 256, 64, 480, 100), (0, 1, 2)
_TRIES = 5
_MOST = 0.5  # of the probe must come out bit for bit; where the machine is busy blocks are lost


def added(model: str, period: int, slack: int) -> int:
    """Samples that rtsep adds. Raises RtsepError when no probe comes through, or it is not what rtsep says."""
    sound = (0.25 * np.random.default_rng(period).standard_normal(RATE // 2)).astype(np.float32)
    with JackServer(period, RATE), LiveEngine(LiveSettings(model=model, slack=slack, strength=0.0)) as live:
        if live.slack != slack:
            raise RtsepError(f"Slack is {live.slack}, not {slack}: {live.slack_control.refusal}")
        for _ in range(_TRIES):  # with strength 0 the stream puts out its delayed input
            recording, _ = probe(sound, "rtsep:in_0", "rtsep:out_0")
            delay = delay_of(sound, recording)
            if np.mean(recording[delay:] == sound[: len(sound) - delay]) > _MOST:
                if delay - period != live.added_samples:
                    raise RtsepError(f"The probe finds {delay - period} samples, rtsep says {live.added_samples}.")
                return delay - period
    raise RtsepError("The probe did not come out as it went in: is the machine busy?")


@verb
def main(
    model: Annotated[str, typer.Option(metavar="NAME|M.onnx")] = "denoise",
    json: Annotated[str | None, typer.Option("--json", metavar="PATH|-")] = None,
) -> None:
    """Print a row a period; see the module."""
    if json not in (None, "-"):
        check_writable(json)
    spec = load(model).spec
    rows: list[dict[str, Any]] = [
        {"period": period, "added samples": [added(model, period, slack) for slack in SLACKS]} for period in PERIODS
    ]
    result = {
        "model": {"name": spec.name, "version": spec.version, "weights_sha256": spec.weights_sha256},
        "server": {"kind": "jackd -S -d dummy, private", "rate": RATE},
        "slacks": SLACKS,
        "rows": rows,
        "environment": environment(),
    }
    if json is not None:
        write_json(result, json)
    if json != "-":
        table = Table("frames a block", *(f"slack {slack}, ms" for slack in SLACKS), box=None)
        for row in rows:
            table.add_row(str(row["period"]), *(f"{1000 * samples / RATE:.2f}" for samples in row["added samples"]))
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
