"""`rtsep karaoke`: songs with their vocals turned down, to files."""

from __future__ import annotations

import functools
import os
from typing import Annotated

import typer

from rtsep.cli.jobs import run_jobs
from rtsep.cli.shared import MODEL_HELP, complain, verb
from rtsep.errors import InputError

_FILES = "To files"


@verb
def karaoke(
    context: typer.Context,
    songs: Annotated[
        list[str] | None,
        typer.Argument(metavar="SONG...", help="Songs, or folders of them (without subfolders)."),
    ] = None,
    vocals: Annotated[
        str | None,
        typer.Option(metavar="off|DB", help="Level of the vocals: off, or dB from 0 down.", show_default="off"),
    ] = None,
    guide: Annotated[bool, typer.Option("--guide", help="Vocals quiet (-12 dB), to sing along with.")] = False,
    solo: Annotated[bool, typer.Option("--solo", help="Only the vocals.")] = False,
    key: Annotated[int, typer.Option(metavar="N", help="Semitones up or down, -6 to 6.")] = 0,
    model: Annotated[
        str | None, typer.Option(metavar="M", help=MODEL_HELP, show_default="karaoke, else mid-side")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("-o", metavar="OUT|DIR|-", help="Write a file, or into a folder.", rich_help_panel=_FILES),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Write NAME.karaoke.EXT beside each song.", rich_help_panel=_FILES)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=_FILES)
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="Files at a time; 0 is one a CPU core.", rich_help_panel=_FILES)
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON on standard output.")] = False,
) -> None:
    """Turn down the vocals of songs.

    Exit code: 0, or 2 for bad input, 1 for a failure, 130 after Ctrl-C. No
    output is ever left half-written, and no song is touched.
    """
    if not songs:
        typer.echo(context.get_help())
        return
    decibels = parse_vocals(vocals, guide, solo)
    _check_key(key)
    name = chosen_model(model, quiet)
    if out is not None or render:
        from rtsep import batch
        from rtsep.karaoke import Karaoke

        if out is not None and render:
            raise InputError("-o names where to write, and --render is beside the songs; choose one of them.")
        jobs = batch.plan(songs, out, batch.KARAOKE)
        make = functools.partial(Karaoke, vocals=decibels, solo=solo, key=key)
        run_jobs(jobs, name, overwrite, workers or os.cpu_count() or 1, quiet, as_json, make=make)
    raise InputError("Playing is not here yet; write files with -o or --render.")


def parse_vocals(text: str | None, guide: bool = False, solo: bool = False) -> float | None:
    """`off` (None) or a number of dB from 0 down, or what --guide stands for; raises InputError."""
    if (text is not None) + guide + solo > 1:
        raise InputError("--vocals, --guide and --solo each say how loud the voice is; choose one of them.")
    if guide:
        from rtsep.karaoke import GUIDE_DB

        return GUIDE_DB
    if text in (None, "off"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = 1.0
    if not float("-inf") < value <= 0:
        raise InputError(f"--vocals is {text!r}; it must be off or a number of dB from 0 down.")
    return value + 0.0  # -0 is 0


def _check_key(key: int) -> None:
    from rtsep.key import check_key

    check_key(key)


def chosen_model(name: str | None, quiet: bool = False) -> str:
    """The model to use, checked; says so when it is the fallback. Raises InputError for one that is not for karaoke."""
    from rtsep.karaoke import FALLBACK, default_model, load_karaoke

    chosen = name or default_model()
    load_karaoke(chosen)
    if name is None and chosen == FALLBACK and not quiet:
        complain(f"This version ships no karaoke model; {FALLBACK} is used, which needs a voice in the middle.")
    return chosen
