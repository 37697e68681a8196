"""`rtsep models`: what can be passed to --model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rtsep.cli.shared import complain, flag, printable, verb, write_json
from rtsep.errors import InputError, RtsepError


@verb
def models(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL.onnx]...", help="Describe these instead of the shipped ones.")
    ] = None,
    as_json: Annotated[bool, flag("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped models, one a line: name, what it does, latency, share of one CPU core here, licence.

    Below them the baselines: methods that need no training, to compare with.
    """
    from rtsep.model import baselines, shipped
    from rtsep.report.models import describe, share_of_core

    described: list[dict[str, Any]] = []
    code = 0
    for name in paths or (*shipped(), *baselines()):
        try:
            described.append({"model": name, **describe(name), "share_of_core": share_of_core(name)})
        except RtsepError as error:  # one bad file hides no good one
            complain(str(error))
            code = max(code, InputError.exit_code)
    if as_json:
        write_json(described, "-")
    elif described:
        _print(described)
    if code:
        raise typer.Exit(code)


def _print(described: list[dict[str, Any]]) -> None:
    """One line a model, however narrow the terminal: for people and for grep."""
    rows = [("name", "task", "latency", "of a core", "licence")]
    for one in described:
        baseline = " (baseline)" if one["form"] == "baseline" else ""
        rows.append(
            (
                *(one["model"], _task(one) + baseline, f"{one['algorithmic_latency_ms']:.2f} ms"),
                *(f"{100 * one['share_of_core']:.0f} %", one["licence"].partition(";")[0]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(printable(line).rstrip())


def _task(one: dict[str, Any]) -> str:
    """What the model puts out, and what it takes away."""
    others = [source for source in one["sources"] if source != one["target"]]
    return f"{one['target']} without {' and '.join(others)}" if others else one["target"]
