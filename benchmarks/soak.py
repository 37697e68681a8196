"""Hours of live sound on a private JACK server: late blocks, xruns, memory, and the bits against the offline result.

    python -m benchmarks.soak [--model NAME|M.onnx] [--minutes 30] [--slack 0] [--json PATH]
    python -m benchmarks.soak --freewheel RECORDING ... [--minutes 10] [--slack 0]

The first runs in real time and reports once a minute. The second lets the server run as fast as it can while the
callback waits for its results (a variant for measurements), feeds real speech, compares every bit, and watches memory.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.machine import environment
from rtsep.cli.shared import check_writable, verb, write_json
from rtsep.engine.enhance import BACKEND
from rtsep.errors import InputError, RtsepError
from rtsep.live.backends.callbacks import WAIT_VARIANT
from rtsep.live.backends.jack_probe import probe
from rtsep.live.backends.jack_server import JackServer
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.model import load, look_at

RATE = 48_000
PERIOD = 128
_RUN_S = 60.0  # of free-wheeling sound at a time
_PATIENCE_S = 600.0  # with a busy machine


def memory(live: LiveEngine) -> float:
    """Resident MB of both children."""
    total = 0
    for pid in live.processes.values():
        if pid is not None:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


def soak(model: str, slack: int, seconds: float, every: float = 60.0) -> list[dict[str, Any]]:
    """Real time: one row every ``every`` seconds, counters since the start."""
    rows = []
    settings = LiveSettings(model=model, slack=slack, channels=look_at(model).spec.channels)
    with JackServer(PERIOD, RATE), LiveEngine(settings) as live:
        began = time.monotonic()
        while (past := time.monotonic() - began) < seconds:
            time.sleep(min(every, seconds - past))
            status: dict[str, Any] = {**live.status()}
            keys = ("callbacks", "late", "lost", "xruns", "resets")
            rows.append(
                {
                    "seconds": round(time.monotonic() - began),
                    **{key: status[key] for key in keys},
                    "compute p99 ms": round(status["compute_ms"]["p99"], 3),
                    "gap max ms": round(status["gap_ms"]["max"], 3),
                    "memory MB": round(memory(live), 2),
                }
            )
            if live.state != "running":
                raise RtsepError(f"The sound stopped: {live.events[-1][1]}")
    return rows


def freewheel(model: str, slack: int, speech: NDArray[np.float32], seconds: float) -> list[dict[str, Any]]:
    """As fast as it goes, a minute of ``speech`` [samples] at a time: bits that differ, and memory after each."""
    rows = []
    loaded = load(model, BACKEND)
    channels, hop = loaded.spec.channels, loaded.spec.hop
    settings = LiveSettings(model=model, slack=slack, ring=1 << 24, callback_variant=WAIT_VARIANT, channels=channels)
    with JackServer(PERIOD, RATE), LiveEngine(settings) as live:
        block = live.block
        # A server that begins or ends to free-wheel may pause, which is no lost device.
        setattr(live._supervisor, "patience_s", lambda: _PATIENCE_S)  # noqa: B010
        stream, at = loaded.stream(channels=channels, block_multiple=math.gcd(PERIOD, hop)), 0  # as late as live
        late = np.zeros((0, channels), np.float32)
        for turn in range(max(1, round(seconds / _RUN_S))):
            size = round(_RUN_S * RATE)
            sound = np.take(speech, np.arange(turn * size, (turn + 1) * size), mode="wrap")
            began = time.monotonic()
            probe(sound, "rtsep:in_0", "rtsep:out_0", "--freewheel", patience=_PATIENCE_S)
            took = time.monotonic() - began
            end = block.state.position // PERIOD * PERIOD
            if end - at > block.length - RATE:
                raise RtsepError("The machine is so busy that the ring went round between two looks; try again later.")
            rings = (block.heard, block.played)
            heard, played = (block.samples_before(ring, end, end - at) for ring in rings)
            # What is played is the result of DELAY samples ago, so the newest results wait for the next turn.
            made = np.concatenate([late, stream.process(heard)])
            if turn == 0:
                made = np.concatenate([np.zeros((block.state.delay, channels), np.float32), made])
            differing = int(np.sum(played != made[: len(played)]))
            late, at = made[len(played) :], end
            rows.append(
                {"minute": turn + 1, "samples": len(played), "differing": differing, "speech samples": len(sound)}
                | {"times real time": round(_RUN_S / took, 1), "memory MB": round(memory(live), 2)}
            )
    return rows


@verb
def main(
    speech: Annotated[list[Path] | None, typer.Argument(metavar="[RECORDING]...", help="For --freewheel.")] = None,
    model: Annotated[str, typer.Option(metavar="NAME|M.onnx")] = "denoise",
    minutes: Annotated[float, typer.Option(min=0.1)] = 30.0,
    slack: Annotated[int, typer.Option(min=0, max=16, help="Blocks; 0 is inside the callback.")] = 0,
    free: Annotated[bool, typer.Option("--freewheel", help="As fast as it goes, every bit compared.")] = False,
    beside: Annotated[str, typer.Option(metavar="TEXT", help="What else this machine was doing.")] = "nothing else",
    json: Annotated[str | None, typer.Option("--json", metavar="PATH|-")] = None,
) -> None:
    """Print one row a minute; see the module."""
    spec, before = look_at(model).spec, os.getloadavg()[0]
    if json not in (None, "-"):
        check_writable(json)
    if free:
        if not speech:
            raise InputError("--freewheel needs recordings of speech at 48000 Hz; name some.")
        try:
            read = [soundfile.read(path, dtype="float32", always_2d=True) for path in speech]
        except soundfile.LibsndfileError as error:
            raise InputError(f"A recording cannot be read: {error}") from None
        if any(rate != RATE for _, rate in read):
            raise InputError(f"All recordings must have {RATE} Hz.")
        rows = freewheel(model, slack, np.concatenate([sound[:, 0] for sound, _ in read]), 60 * minutes)
    else:
        rows = soak(model, slack, 60 * minutes)
    result = {
        "model": {"name": spec.name, "version": spec.version, "weights_sha256": spec.weights_sha256},
        "server": {"kind": "jackd -S -d dummy, private", "rate": RATE, "period": PERIOD, "slack": slack},
        "freewheel": free,
        "beside": {"what": beside, "load average before": before, "load average after": os.getloadavg()[0]},
        "rows": rows,
        "environment": environment(),
    }
    if json is not None:
        write_json(result, json)
    if json != "-":
        table = Table(box=None)
        for name in rows[0]:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
