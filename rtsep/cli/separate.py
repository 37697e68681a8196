"""`rtsep separate`: a file for every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.shared import MODEL_HELP, complain, flag, verb
from rtsep.errors import InputError, RtsepError


@verb
def separate(
    context: typer.Context,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE...", help="Sound or video files.")] = None,
    model: Annotated[str, typer.Option(metavar="M", help=MODEL_HELP)] = "denoise",
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Which sound, for models that are told a class.")
    ] = None,
    side: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Side information, for models that take a sequence: .npy or .csv, a frame a row."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="DIR", help="A folder that exists. Default: beside the input."),
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, flag("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, flag("--json", help="Print what was written as JSON on standard output.")] = False,
) -> None:
    """Take recordings apart, into NAME.SOURCE.EXT for every source of the model.

    A model that takes one voice out and leaves the rest goes on with the
    rest, and writes as many files as it found voices.

    Exit code: 0, or 2 for bad input, 1 for a failure or a file that was cut
    off, 130 after Ctrl-C. No output is ever left half-written.
    """
    if not files:
        typer.echo(context.get_help())
        return
    from rtsep.audio_io.separate import separate_file
    from rtsep.audio_io.side import read_side
    from rtsep.model import load

    if class_name is not None and side is not None:
        raise InputError("--class and --side are for models of different kinds; choose one of them.")
    chosen = load(model)
    spec = chosen.spec
    if class_name is None and spec.classes:
        raise InputError(f"{spec.name} is told what to take out; give --class, one of {', '.join(spec.classes)}.")
    condition = read_side(Path(side)) if side is not None else class_name
    told, damaged = [], False
    for name in files:
        done = separate_file(Path(name), Path(out) if out is not None else None, chosen, condition, overwrite)
        if done.damage is not None:
            complain(done.damage)
            damaged = True
        told.append({"input": name, "outputs": {source: str(path) for source, path in done.outputs.items()}})
        if not quiet and not as_json:
            typer.echo(f"{name}: {', '.join(str(path) for path in done.outputs.values())}", err=True)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    if damaged:
        raise typer.Exit(RtsepError.exit_code)
