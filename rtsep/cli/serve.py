"""`rtsep serve`: streams over WebSocket for other programs."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rtsep.cli.shared import MODEL_HELP, finite, verb
from rtsep.errors import InputError, RtsepError

TOKEN = "RTSEP_TOKEN"
_LOCAL = ("127.0.0.1", "::1", "localhost")


@verb
def serve(
    model: Annotated[str, typer.Option(metavar="M", help=MODEL_HELP)] = "denoise",
    streams: Annotated[int, typer.Option(min=1, max=1024, metavar="N", help="At the same time, at most.")] = 32,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="To listen on; 0.0.0.0 lets in other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="To listen on; 0 is any free one.")] = 8765,
    token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Holds the token that clients must say; or the variable {TOKEN}."),
    ] = None,
    max_frame: Annotated[
        float, typer.Option(min=1, max=10_000, callback=finite, metavar="MS", help="Sound in one message, at most.")
    ] = 500.0,
    max_speed: Annotated[
        float, typer.Option(min=1, max=1000, callback=finite, metavar="X", help="Times real time, of each client.")
    ] = 1.5,
    idle: Annotated[
        float, typer.Option(min=1, callback=finite, metavar="S", help="End a connection on which nothing comes.")
    ] = 60.0,
) -> None:
    """Serve streams over WebSocket: sound in, clean sound out, all
    connections on one engine.

    For this machine only, unless --host says otherwise. The protocol
    stands in docs/serve.md; ask /healthz and /metrics how it is.
    """
    if importlib.util.find_spec("picows") is None:
        raise RtsepError("The server needs picows; install it with: pip install picows.")

    from rtsep.live.ui.stop_signals import StopSignals
    from rtsep.model import load
    from rtsep.service.limits import Limits
    from rtsep.service.server import Server, run

    token = _token(token_file)
    if token is None and host not in _LOCAL:
        typer.echo(f"rtsep: Everybody who reaches {host} may use this server; --token-file names a token.", err=True)
    loaded = load(model, "compiled")
    limits = Limits(streams=streams, frame_s=max_frame / 1000, speed=max_speed, idle_s=idle)
    _ = loaded.program  # refuses a model that an engine cannot step
    with StopSignals() as quit:

        def ready(address: str) -> None:
            typer.echo(f"rtsep: {loaded.spec.name} is served at {address} (Ctrl-C ends it).", err=True)

        event_loop().run(run(Server(loaded, limits, token), host, port, quit, ready))


def event_loop() -> Any:
    """uvloop, where it is installed: less work for each message. Has ``run``, as asyncio."""
    try:
        import uvloop as loop
    except ImportError:
        import asyncio as loop  # type: ignore[no-redef]
    return loop


def _token(file: str | None) -> str | None:
    """What clients must say, or None. Raises InputError for a file that cannot be read or is empty."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not token:
        raise InputError(f"{file} is empty; it must hold the token.")
    return token
