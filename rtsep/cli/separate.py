"""`rtsep separate`: a file for every source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rtsep.cli.interrupts import interrupted_by_signals
from rtsep.cli.karaoke import chosen_model
from rtsep.cli.shared import MODEL_HELP, complain, flag, verb
from rtsep.errors import InputError, RtsepError
from rtsep.printable import printable


@verb
def separate(
    context: typer.Context,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE...", help="Sound or video files.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="M", help=MODEL_HELP, show_default="for songs: spleeter if it was added, else karaoke"),
    ] = None,
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
    from rtsep.engine.enhance import BACKEND
    from rtsep.model import load

    if class_name is not None and side is not None:
        raise InputError("--class and --side are for models of different kinds; choose one of them.")
    folder = None if out is None else Path(out)
    if folder is not None and not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    chosen = load(chosen_model(None, quiet=quiet) if model is None else model, BACKEND)
    spec = chosen.spec
    if class_name is None and spec.classes:
        raise InputError(f"{spec.name} is told what to take out; give --class, one of {', '.join(spec.classes)}.")
    condition = read_side(Path(side)) if side is not None else class_name
    told: list[dict[str, Any]] = []
    codes = set()
    with interrupted_by_signals():
        for name in files:
            try:
                done = separate_file(Path(name), folder, chosen, condition, overwrite)
            except RtsepError as error:  # the others go on
                complain(str(error))
                codes.add(error.exit_code)
                continue
            if done.damage is not None:
                complain(done.damage)
                codes.add(RtsepError.exit_code)
            told.append({"input": name, "outputs": {source: str(path) for source, path in done.outputs.items()}})
            if not quiet and not as_json:
                written = ", ".join(str(path) for path in done.outputs.values())
                typer.echo(printable(f"{name}: {written}"), err=True)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    if codes:
        raise typer.Exit(InputError.exit_code if codes == {InputError.exit_code} else RtsepError.exit_code)
