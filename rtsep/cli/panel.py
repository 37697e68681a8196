"""`rtsep panel`: the page in the browser."""

from __future__ import annotations

import importlib.util
import threading
import webbrowser
from typing import Annotated

import typer

from rtsep.cli.shared import flag, verb
from rtsep.errors import RtsepError

_LOCAL = ("127.0.0.1", "::1", "localhost")


@verb
def panel(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="To listen on; 0 is any free one.")] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="To listen on; 0.0.0.0 lets in other machines that know the address.")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, flag("--no-browser", help="Only print the page's address.")] = False,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Begin with these settings.")] = None,
    start: Annotated[bool, flag("--start", help="Start the microphone at once.")] = False,
    record: Annotated[str, typer.Option(metavar="DIR", help="Where recordings go.")] = ".",
) -> None:
    """Open the page in the browser: the microphone with its levels, spectra
    and latency, karaoke, files with a blind test, and the latency report; for
    this machine only.

    Closing the page stops nothing; Ctrl-C here stops everything.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise RtsepError("The panel needs aiohttp; install it with: pip install aiohttp.")
    import asyncio

    from rtsep.live.ui.stop_signals import StopSignals
    from rtsep.panel.server import LOCAL, Panel, run

    with StopSignals() as quit:
        page = Panel(record, LOCAL if host in _LOCAL else ())
        try:
            if preset is not None:
                page.tabs.microphone.load_preset(preset)
            if start:
                page.tabs.microphone.run(True)

            def ready(address: str) -> None:
                typer.echo(f"rtsep: The panel is at {address} (Ctrl-C ends it).", err=True)
                if not no_browser:
                    threading.Thread(target=_open, args=(address,), daemon=True, name="browser").start()

            asyncio.run(run(page, host, port, quit, ready))
        finally:
            page.close()


def _open(address: str) -> None:
    if not webbrowser.open(address):
        typer.echo("rtsep: No browser could be opened; open the address yourself.", err=True)
