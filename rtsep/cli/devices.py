"""`rtsep devices` and `rtsep doctor`: what there is to hear and play with, and how well it will go."""

from __future__ import annotations

from typing import Annotated

import typer

from rtsep.cli.shared import flag, verb, write_json
from rtsep.printable import printable


@verb
def devices(as_json: Annotated[bool, flag("--json", help="Print JSON.")] = False) -> None:
    """List the sound devices. Every option that takes one takes a number, a name or a part of one."""
    from dataclasses import asdict

    from rtsep.live.backends.portaudio import PortAudio
    from rtsep.live.routing.devices import is_own
    from rtsep.live.routing.sound_server import devices_of_server

    found = PortAudio().devices()
    found += devices_of_server(found)
    if as_json:
        write_json([asdict(device) for device in found], "-")
        return
    if not found:
        typer.echo("No sound device was found; `rtsep doctor` says what to do.", err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for heading in ("", "name", "through", "in", "out", "rate Hz", ""):
        table.add_column(heading, overflow="fold")
    for device in found:
        marks = [device.description] * bool(device.description)
        marks += ["default in"] * device.default_input + ["default out"] * device.default_output
        marks += ["rtsep itself"] * is_own(device)
        number = "" if device.of_server else str(device.index)
        cells = (number, device.name, device.host, str(device.inputs), str(device.outputs), str(device.rate))
        table.add_row(*(Text(printable(cell)) for cell in (*cells, ", ".join(marks))))  # names may look like markup
    Console().print(table)


@verb
def doctor(
    as_json: Annotated[bool, flag("--json", help="Print JSON.")] = False,
    systemd: Annotated[bool, flag("--systemd", help="Print a systemd user unit instead.")] = False,
) -> None:
    """Say what on this machine helps or hinders live sound, and what to do about it."""
    from rtsep.live.doctor import as_dicts, examine

    if systemd:
        from rtsep.live.user_service.service import command
        from rtsep.live.user_service.systemd import unit

        typer.echo(unit(command()), nl=False)
        return
    findings = examine()
    if as_json:
        write_json(as_dicts(findings), "-")
        return
    for finding in findings:
        mark = "ok " if finding.fine else "-- "
        advice = f"; {finding.advice}" if finding.advice else ""
        typer.echo(printable(f"{mark} {finding.subject}: {finding.found}{advice}"))
