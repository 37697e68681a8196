"""`rtsep separate`: the sources of songs, a file each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.jobs import terminate_like_interrupt
from rtsep.cli.karaoke import chosen_model
from rtsep.cli.shared import MODEL_HELP, complain, flag, printable, verb
from rtsep.errors import InputError, RtsepError


@verb
def separate(
    songs: Annotated[list[str], typer.Argument(metavar="SONG...", help="Files.")],
    out: Annotated[str, typer.Option("-o", metavar="DIR", help="The folder to write to; it exists.")],
    model: Annotated[
        str | None,
        typer.Option(metavar="M", help=MODEL_HELP, show_default="spleeter if it was added, else karaoke"),
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace outputs that exist.")] = False,
    quiet: Annotated[bool, flag("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Write vocals and accompaniment of songs, NAME.SOURCE.EXT each; the two add up to the song.

    Exit code: 0, or 2 for bad input, 1 for a failure, 130 after Ctrl-C. No
    output is ever left half-written, and no song is touched.
    """
    from rtsep.audio_io.stems import separate_file, stem_targets
    from rtsep.model import load

    folder = Path(out)
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist; create it first.")
    loaded = load(chosen_model(model, quiet=quiet))
    terminate_like_interrupt()
    codes = set()
    for song in songs:
        begin = time.perf_counter()
        targets = stem_targets(Path(song), folder, loaded)
        try:
            report = separate_file(Path(song), targets, loaded, overwrite)
        except RtsepError as error:  # the others go on
            complain(str(error))
            codes.add(error.exit_code)
            continue
        if report.damage is not None:
            complain(f"{report.damage} What there was is written.")
            codes.add(RtsepError.exit_code)
        if not quiet:
            pace = report.seconds / max(time.perf_counter() - begin, 1e-9)
            names = ", ".join(map(str, targets.values()))
            typer.echo(printable(f"{names}  {report.seconds:.1f} s, {pace:.1f} x real time"), err=True)
    if codes:
        raise typer.Exit(InputError.exit_code if codes == {InputError.exit_code} else RtsepError.exit_code)
