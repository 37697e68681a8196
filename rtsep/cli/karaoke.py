"""`rtsep karaoke`: songs with their vocals turned down, played, or to files, or what other programs play."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from rtsep.audio_io.sink import ENCODED, OUTPUTS
from rtsep.cli.jobs import run_jobs
from rtsep.cli.shared import MODEL_HELP, complain, cores, finite, flag, verb
from rtsep.errors import InputError

_FILES = "To files"
_LIVE = "Playing"
_CAPTURE = "What other programs play"
LIVE_MS = 20.0  # a model that needs more is none for sound that is live


@verb
def karaoke(
    context: typer.Context,
    songs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SONG...",
            help="Songs, or folders of them; with --capture the device to listen to.",
        ),
    ] = None,
    vocals: Annotated[
        str | None,
        typer.Option(metavar="off|DB", help="Level of the vocals: off, or dB from 0 down.", show_default="off"),
    ] = None,
    guide: Annotated[bool, flag("--guide", help="Vocals quiet (-12 dB), to sing along with.")] = False,
    solo: Annotated[bool, flag("--solo", help="Only the vocals.")] = False,
    key: Annotated[int, typer.Option(metavar="N", help="Semitones up or down, -6 to 6.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(metavar="M", help=MODEL_HELP, show_default="spleeter for files if it was added, else karaoke"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o", metavar="OUT|DIR|-", help="Write a file, or into a folder that exists.", rich_help_panel=_FILES
        ),
    ] = None,
    render: Annotated[
        bool, flag("--render", help="Write NAME.karaoke.EXT beside each song.", rich_help_panel=_FILES)
    ] = False,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace outputs that exist.", rich_help_panel=_FILES)] = False,
    skip_existing: Annotated[
        bool,
        flag(
            "--skip-existing",
            help="An output that is there is no failure (nor ever in a batch).",
            rich_help_panel=_FILES,
        ),
    ] = False,
    salvage: Annotated[
        bool, flag("--salvage", help="A file that was cut off is no failure.", rich_help_panel=_FILES)
    ] = False,
    recursive: Annotated[
        bool, flag("--recursive", "-r", help="Folders with their subfolders.", rich_help_panel=_FILES)
    ] = False,
    template: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="TEMPLATE",
            help="Names of outputs.",
            show_default="{name}.karaoke{ext}",
            rich_help_panel=_FILES,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, metavar="N", help="Files at a time; 0 is one a CPU core.", rich_help_panel=_FILES)
    ] = 1,
    quiet: Annotated[bool, flag("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, flag("--json", help="Print JSON on standard output.")] = False,
    output: Annotated[
        str | None, typer.Option("--output", metavar="DEV", help="See `rtsep devices`.", rich_help_panel=_LIVE)
    ] = None,
    volume: Annotated[float, typer.Option(metavar="DB", help="From -60 to 0.", rich_help_panel=_LIVE)] = 0.0,
    begin: Annotated[
        float,
        typer.Option(
            "--from",
            min=0,
            callback=finite,
            metavar="S",
            help="Seconds into the first song.",
            rich_help_panel=_LIVE,
        ),
    ] = 0.0,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, metavar="S", help="Stop after so long.", rich_help_panel=_LIVE),
    ] = None,
    block: Annotated[
        int | None, typer.Option(metavar="N", help="Frames to ask the device for.", rich_help_panel=_LIVE)
    ] = None,
    mic: Annotated[
        str | None, typer.Option("--mic", metavar="DEV", help="Mix in a singer, denoised.", rich_help_panel=_LIVE)
    ] = None,
    capture: Annotated[
        bool, flag("--capture", help="From a monitor or a loopback cable.", rich_help_panel=_CAPTURE)
    ] = False,
    virtual_sink: Annotated[
        bool,
        flag("--virtual-sink", help="From a new sink, rtsep-karaoke.", rich_help_panel=_CAPTURE),
    ] = False,
    slack: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Blocks of delay; 0 is inside the callback.", rich_help_panel=_CAPTURE),
    ] = None,
) -> None:
    """Play songs with their vocals turned down, write them to files (-o,
    --render), or turn down what other programs play (--capture,
    --virtual-sink).

    Exit code: 0, or 2 for bad input, 1 for a failure, 130 after Ctrl-C. No
    output is ever left half-written, and no song is touched.
    """
    live = capture or virtual_sink
    if not songs and not live:
        typer.echo(context.get_help())
        return
    if output is not None and Path(output).suffix.lower() in (*OUTPUTS, *ENCODED):
        raise InputError(f"--output names a device to play on; write to a file with -o {output}.")
    decibels = parse_vocals(vocals, guide, solo)
    _check_key(key)
    if not -60 <= volume <= 0:
        raise InputError(f"--volume is {volume:g}; it must be a number of dB from -60 to 0.")
    name = chosen_model(model, live, quiet)
    if live:
        from rtsep.cli.capture import run_capture

        if out is not None or render or key or solo or mic is not None:
            raise InputError("-o, --render, --key, --solo and --mic are for songs, not for what other programs play.")
        run_capture(songs or [], name, decibels, output, virtual_sink, block, slack, as_json, seconds)
    elif out is not None or render:
        from rtsep.audio_io import batch
        from rtsep.karaoke.song_parts import Karaoke

        if out is not None and render:
            raise InputError("-o names where to write, and --render is beside the songs; choose one of them.")
        jobs = batch.plan(songs or [], out, batch.KARAOKE, recursive, template)
        make = functools.partial(Karaoke, vocals=decibels, solo=solo, key=key)
        run_jobs(
            *(jobs, name, overwrite, workers or cores(), quiet, as_json),
            make=make,
            salvage=salvage,
            skip_existing=skip_existing,
        )
    else:
        from rtsep.audio_io import batch
        from rtsep.live.player.player_session import PlayerSession
        from rtsep.live.player.player_settings import PlayerSettings
        from rtsep.live.routing.pulse_routing import ServerPins
        from rtsep.live.ui.player_view import player_view
        from rtsep.live.ui.stop_signals import StopSignals

        if songs == ["-"]:
            raise InputError("Songs are played from files, for one seeks in them; name a file.")
        jobs = batch.plan(songs or [], None, batch.KARAOKE, recursive)
        paths = tuple(job.source for job in jobs if job.problem is None)
        for job in jobs:
            if job.problem is not None:
                complain(job.problem)
        if not paths:
            raise InputError("There is no song to play.")
        settings = PlayerSettings(paths, name, output, decibels, solo, key, volume, begin, block=block)
        with StopSignals() as quit, ServerPins() as pins:
            session = PlayerSession(
                settings, lambda player: player_view(player, as_json, quiet), mic, quit, opened=pins.pin
            )
            session.run(seconds)


def parse_vocals(text: str | None, guide: bool = False, solo: bool = False) -> float | None:
    """`off` (None) or a number of dB from 0 down, or what --guide stands for; raises InputError."""
    if (text is not None) + guide + solo > 1:
        raise InputError("--vocals, --guide and --solo each say how loud the voice is; choose one of them.")
    if guide:
        from rtsep.karaoke.song_parts import GUIDE_DB

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
    from rtsep.karaoke.pitch_shift import check_key

    check_key(key)


def chosen_model(name: str | None, live: bool = False, quiet: bool = False) -> str:
    """The model to use, checked; says which it is when none was named, or that it comes late where sound is ``live``.

    Raises InputError for one that is not for karaoke, or for ``live`` sound.
    """
    from rtsep.karaoke.song_parts import FALLBACK, default_model, good_for, karaoke_model

    chosen = name or default_model(live)
    model = karaoke_model(chosen, live)
    late = 1000 * model.spec.algorithmic_latency / model.spec.sample_rate
    if quiet:
        return chosen
    if live and late > LIVE_MS:
        complain(f"The sound of {model.spec.name} comes {late:.0f} ms late; without --model it comes sooner.")
    if name is None and chosen == FALLBACK:
        complain(f"This version ships no karaoke model; {FALLBACK} is used, which needs a voice in the middle.")
    elif name is None:
        complain(good_for(model))
    return chosen
