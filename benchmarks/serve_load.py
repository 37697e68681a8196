"""How long `rtsep serve` takes to answer so many clients at once, beside a server that sends back what it gets.

    python -m benchmarks.serve_load [--model M] [--connections N ...] [--seconds S] [--repeats N] [--json PATH]

Every client sends frames of 16-bit sound in real time, on loopback, all at moments of their own. Told is the time from
just before a frame is handed to the kernel until the kernel has the answer for its client (see `websocket_clients`);
how long the answer then lies unread, the clients' own queue, is told beside and in no other figure. Both servers are
programs of their own, on the same WebSocket library and event loop, and take turns with the same clients; what is left
when one is taken from the other is rtsep's: engine, resampling and waiting. The clients are one program of raw sockets;
the share of a core that they take is told too. N is at most what one core serves by `benchmarks.streams`, unless it is
said. Nothing here is a pass or a fail.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("serve")

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server
from rich.console import Console

import rtsep
from benchmarks.limit import spread
from benchmarks.machine import environment
from benchmarks.websocket_clients import Delay, converse
from rtsep.cli.serve import event_loop
from rtsep.service.server import BACKLOG
from training.evaluation.evaluate import describe, write_json
from training.one_sentence import one_sentence

RESULTS = Path(__file__).with_name("results")
FRAME_S = 0.02
SETTLE_S = 0.5  # at the beginning, which is not counted


def promised(model: str) -> int:
    """Streams a core by the committed result of `benchmarks.streams`. Raises InputError when there is none."""
    found = json.loads((RESULTS / "streams.json").read_text(encoding="utf-8"))["models"]
    counts = [round(entry["streams"]["median"]) for entry in found if entry["model"]["name"] == model]
    if not counts:
        raise rtsep.InputError(f"benchmarks.streams has not measured {model}; say how many --connections.")
    return counts[0]


class _Echo(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, '{"latency": 0}')

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()


def echo() -> None:
    """The other server: what comes goes back."""

    async def run() -> None:
        server = await ws_create_server(lambda request: _Echo(), "127.0.0.1", 0, backlog=BACKLOG)
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/stream", file=sys.stderr, flush=True)
        await server.serve_forever()

    event_loop().run(run())


@contextlib.contextmanager
def server(*command: str) -> Iterator[tuple[str, int]]:
    """A program that serves, as address and process number; ended at the end."""
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for said in process.stderr:  # a first run says that it compiles
                if found := re.search(r"ws://\S+", said):
                    yield found[0], process.pid
                    return
            raise rtsep.RtsepError("The server did not start.")
        finally:
            process.terminate()
            process.wait(30)


def cpu_seconds(process: int) -> float:
    """CPU time of a process up to now; NaN where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return float("nan")


def load(address: str, connections: int, seconds: float, rate: int) -> tuple[list[Delay], float]:
    """Delays of all frames of all clients, and the share of a core that the clients take."""
    size = round(FRAME_S * rate)
    noise = (2000 * np.random.default_rng(0).standard_normal(size * 8)).astype("<i2")
    frames = [noise[size * (n % 8) :][:size].tobytes() for n in range(round((seconds + SETTLE_S) / FRAME_S))]
    offsets = np.random.default_rng(1).uniform(0, FRAME_S, connections).tolist()
    delays, used = converse(f"{address}?rate={rate}", frames, offsets, FRAME_S, round(SETTLE_S / FRAME_S))
    return delays, used / (seconds + SETTLE_S)


def percentile(seconds: list[float], percent: float) -> float:
    """In milliseconds."""
    return 1000 * float(np.percentile(seconds, percent))


def measure(model: str, connections: int, seconds: float, repeats: int, rate: int) -> dict[str, Any]:
    """p50 and p99 in milliseconds of both servers, turn by turn, and the share of a core that each takes."""
    serve = ("-m", "rtsep", "serve", "--model", model, "--streams", str(connections), "--port", "0")
    rows: list[dict[str, float]] = []
    with server(*serve) as ours, server("-c", "from benchmarks.serve_load import echo; echo()") as other:
        for _ in range(repeats):
            row = {}
            for name, (address, process) in (("rtsep", ours), ("echo", other)):
                before = cpu_seconds(process)
                delays, row[f"{name} clients' core"] = load(address, connections, seconds, rate)
                row[f"{name} core"] = (cpu_seconds(process) - before) / (seconds + SETTLE_S)
                for percent in (50, 99):
                    row[f"{name} p{percent} ms"] = percentile([delay.seconds for delay in delays], percent)
                row[f"{name} p99 unread ms"] = percentile([delay.unread for delay in delays], 99)
            row["added p99 ms"] = row["rtsep p99 ms"] - row["echo p99 ms"]
            row["added p50 ms"] = row["rtsep p50 ms"] - row["echo p50 ms"]
            rows.append(row)
    return {"connections": connections, **{key: spread([row[key] for row in rows]) for key in rows[0]}}


def main(
    model: Annotated[str, typer.Option(help="A shipped name or an .onnx file.")] = "denoise-small",
    connections: Annotated[list[int] | None, typer.Option(min=1, max=1000, help="Clients at once; repeat it.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="Length of a turn.")] = 4.0,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often all is measured.")] = 5,
    rate: Annotated[int, typer.Option(min=8000, max=192_000, help="Of the clients' sound, Hz.")] = 48_000,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Measure how long a server takes to answer."""
    with one_sentence():
        loaded, console = rtsep.load(model), Console(width=160)
        most = promised(loaded.spec.name) if not connections else 0
        found = []
        for count in connections or [max(1, most // 4), max(1, most // 2), most]:
            entry = measure(model, count, seconds, repeats, rate)
            found.append(entry)
            told = ", ".join(f"{key} {value['median']:.2f}" for key, value in entry.items() if key != "connections")
            console.print(f"{count} connections: {told}")
        if json_path:
            about = {"model": describe(loaded), "rate": rate, "frame_s": FRAME_S, "seconds": seconds}
            write_json(json_path, {"format": 1, **environment(), "repeats": repeats, **about, "loads": found})


if __name__ == "__main__":
    typer.run(main)
