"""How soon something happens: help, the first sound of a stream and of a live session, and what its worker takes.

    python -m benchmarks.start [--model NAME|M.onnx] [--repeats N] [--json PATH]

Every run is a process of its own, with what was compiled before on the disk; a first round that is not counted fills
the caches, of byte code too. In turns with `python -c pass`, which nothing of it can undercut, and `import numba`,
which only who compiles needs. CPU time is that of the process and its children; on an idle machine one process takes
as long by the wall clock. The live session runs inside the callback, on a private JACK server; its time is from
starting Python until sound runs, its CPU time that of parent and audio process, which work one after the other while
the worker starts beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.limit import spread
from benchmarks.machine import environment
from rtsep.cli.shared import check_writable, verb, write_json
from rtsep.errors import RtsepError
from rtsep.live.backends.jack_server import JackServer
from rtsep.model import look_at

PERIOD, RATE = 128, 48_000
SOUND = """
import sys, numpy, rtsep
stream = rtsep.load(sys.argv[1], backend="compiled").stream()
stream.process(numpy.full(512, 0.01, numpy.float32))
"""
# Prints, in JSON: CPU time in s of parent, audio process and worker when sound runs, and MB of the worker.
LIVE = """
import json, os, sys, time
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
def words(pid, file):
    return open(f"/proc/{pid}/{file}").read().rpartition(")")[2].split()
with LiveEngine(LiveSettings(model=sys.argv[1], slack=0)) as live:
    began = time.time()
    pids = {"parent": "self", **live.processes}
    ticks = os.sysconf("SC_CLK_TCK")
    cpu = {name: sum(map(int, words(pid, "stat")[11:13])) / ticks for name, pid in pids.items()}
    time.sleep(2)
    memory = int(words(pids["worker"], "statm")[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    print(json.dumps({"at": began, "cpu": cpu, "memory": memory, "slack": live.slack}))
"""
RUNS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "import numba": ("-c", "import numba"),
    "rtsep --help": ("-m", "rtsep", "--help"),
    "first sound of a stream": ("-c", SOUND),
}
LIVE_START = "first sound of a live session"


def run(arguments: tuple[str, ...]) -> dict[str, float]:
    """Wall clock and CPU time of a Python, s. Raises RtsepError when it fails."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=variables())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RtsepError(f"python {' '.join(arguments[:2])} failed; see above.")
    return {"wall_s": time.monotonic() - began, "cpu_s": usage.ru_utime + usage.ru_stime}


def run_live(model: str) -> dict[str, float]:
    """The same of a live session, until its sound runs, and MB of its worker."""
    began = time.time()
    command = [sys.executable, "-c", LIVE, model]
    done = subprocess.run(command, capture_output=True, text=True, env=variables(), timeout=300)
    if done.returncode:
        raise RtsepError(f"The live session failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    told = json.loads(done.stdout)
    if told["slack"]:
        raise RtsepError("The model did not run inside the callback.")
    cpu = told["cpu"]["parent"] + told["cpu"]["audio"]
    return {"wall_s": told["at"] - began, "cpu_s": cpu, "worker_cpu_s": told["cpu"]["worker"], "memory": told["memory"]}


def variables() -> dict[str, str]:
    """The environment, with byte code kept on the disk as everywhere."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def measure(model: str, repeats: int) -> dict[str, Any]:
    """Spreads of every run, by what it is."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*RUNS, LIVE_START)}
    with JackServer(PERIOD, RATE):
        for repeat in range(repeats + 1):
            for name, arguments in RUNS.items():
                values = run((*arguments, model) if arguments[-1] == SOUND else arguments)
                if repeat:
                    found[name].append(values)
            values = run_live(model)
            if repeat:
                found[LIVE_START].append(values)
    return {name: {key: spread([each[key] for each in values]) for key in values[0]} for name, values in found.items()}


@verb
def main(
    model: Annotated[str, typer.Option(metavar="NAME|M.onnx")] = "denoise",
    repeats: Annotated[int, typer.Option(min=1, max=100)] = 7,
    json: Annotated[str | None, typer.Option("--json", metavar="PATH|-")] = None,
) -> None:
    """Print a row for each; see the module."""
    if json not in (None, "-"):
        check_writable(json)
    file = look_at(model)
    runs = measure(str(Path(file.path).resolve()) if file.path.exists() else model, repeats)
    spec = file.spec
    result = {
        "model": {"name": spec.name, "version": spec.version, "weights_sha256": spec.weights_sha256},
        "repeats": repeats,
        "runs": runs,
        "environment": environment(),
    }
    if json is not None:
        write_json(result, json)
    if json != "-":
        table = Table("median of each", "wall clock s", "CPU s", "worker MB", box=None)
        for name, values in runs.items():
            memory = f"{values['memory']['median']:.0f}" if "memory" in values else ""
            table.add_row(name, *(f"{values[key]['median']:.2f}" for key in ("wall_s", "cpu_s")), memory)
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
