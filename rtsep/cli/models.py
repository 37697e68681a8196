"""`rtsep models`: what can be passed to --model."""

from __future__ import annotations

from typing import Annotated

import typer

from rtsep.cli.shared import verb, write_json


@verb
def models(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL.onnx]...", help="Describe these instead of the shipped ones.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped models: what they put out, at which rate and latency, how large, under which licence.

    Below them the baselines: methods that need no training.
    """
    from rtsep.model import baselines, shipped
    from rtsep.report.models import describe

    described = [describe(name) for name in paths or (*shipped(), *baselines())]
    if as_json:
        write_json(described, "-")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("name", "version", "target", "rate Hz", "latency ms", "MB", "licence"):
        table.add_column(heading, overflow="fold")
    for m in described:
        baseline = m["form"] == "baseline"
        table.add_row(
            m["name"],
            *("baseline" if baseline else m["version"], m["target"], str(m["sample_rate"])),
            *(f"{m['algorithmic_latency_ms']:.2f}", "-" if baseline else f"{m['megabytes']:.1f}", m["licence"]),
        )
    Console().print(table)
