"""`rtsep denoise`: files in, clean files out; or live, from a microphone (see rtsep.cli.live)."""

from __future__ import annotations

import functools
import os
from typing import Annotated

import typer

from rtsep.cli.jobs import run_jobs
from rtsep.cli.shared import MODEL_HELP, parse_strength, verb

_LIVE, _GATE = "Live", "Gate, for models that hear when there is a voice"
FILE_LOOKBACK_MS = 20.0  # in files it costs nothing


@verb
def denoise(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Sound or video files, folders of them (without subfolders), or - for WAV from standard input.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT|DIR|-", help="Default: NAME.denoised.EXT beside the input."),
    ] = None,
    strength: Annotated[
        str | None, typer.Option(metavar="max|DB", help="Most attenuation of the noise, in dB.", show_default="max")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help=MODEL_HELP, show_default="denoise")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    workers: Annotated[int, typer.Option(min=0, metavar="N", help="Files at a time; 0 is one a CPU core.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON on standard output.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="From a microphone to --output DEVICE.", rich_help_panel=_LIVE)
    ] = False,
    virtual_mic: Annotated[
        bool, typer.Option("--virtual-mic", help="To a microphone that other programs see.", rich_help_panel=_LIVE)
    ] = False,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="To the loudspeaker (use headphones).", rich_help_panel=_LIVE)
    ] = False,
    source: Annotated[
        str | None, typer.Option("--input", metavar="DEV", help="See `rtsep devices`.", rich_help_panel=_LIVE)
    ] = None,
    input_channels: Annotated[
        str | None,
        typer.Option(metavar="N|left|right|mean", help="Channels of it that are heard.", rich_help_panel=_LIVE),
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Frames to ask the device for.", rich_help_panel=_LIVE)
    ] = None,
    slack: Annotated[
        int | None, typer.Option(metavar="N", help="Blocks of delay; 2, more if needed.", rich_help_panel=_LIVE)
    ] = None,
    gate: Annotated[
        str | None,
        typer.Option(metavar="DB|off", help="Turn down by DB when there is no voice.", rich_help_panel=_GATE),
    ] = None,
    gate_open: Annotated[
        float | None,
        typer.Option(metavar="P", help="Probability of a voice that opens it; 0.5.", rich_help_panel=_GATE),
    ] = None,
    gate_hold: Annotated[
        float | None, typer.Option(metavar="MS", help="Stay open so long after it; 250.", rich_help_panel=_GATE)
    ] = None,
    gate_lookback: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Open so long before it: live, delay.", rich_help_panel=_GATE),
    ] = None,
    record: Annotated[
        str | None, typer.Option(metavar="DIR", help="Record what is heard and played.", rich_help_panel=_LIVE)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Begin with these settings.", rich_help_panel=_LIVE)
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Save the settings as a preset.", rich_help_panel=_LIVE)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after so long.", rich_help_panel=_LIVE)
    ] = None,
) -> None:
    """Take the noise out of recordings of speech, or out of a microphone while you speak.

    WAV, FLAC, Ogg and MP3 are read; WAV, FLAC and Ogg are written, with the
    rate, channels, length, sample format and tags of the input. Everything
    else, MP3 and the sound of videos (by ffmpeg) too, becomes FLAC.

    Exit code: 0, or 2 for bad input, 1 for a failure, 130 after Ctrl-C. No
    output is ever left half-written, and no input is touched.
    """
    from rtsep.audio_io import batch
    from rtsep.errors import InputError

    if live or virtual_mic or monitor or preset is not None:
        from rtsep.cli.live import run_live

        run_live(
            *(files, virtual_mic, monitor, source, output, strength, model, block, slack),
            *(gate, gate_open, gate_hold, gate_lookback, record, preset, save, as_json, seconds),
            input_channels,
        )
        return
    strength, model = strength or "max", model or "denoise"
    only_live = {
        "--input": source,
        "--input-channels": input_channels,
        "--block": block,
        "--slack": slack,
        "--record": record,
        "--save": save,
    }
    for option, value in (only_live | {"--seconds": seconds}).items():
        if value is not None:
            raise InputError(f"{option} is for live sound; add --live, --virtual-mic or --monitor.")
    if not files:
        typer.echo(context.get_help())
        return
    jobs = batch.plan(files, output)
    cores = workers or os.cpu_count() or 1
    limit, make = parse_strength(strength), None
    if gate not in (None, "off"):
        from rtsep.cli.live import parse_gate
        from rtsep.engine.gate import GatedEnhancer, check_gate
        from rtsep.model import load

        values = {"gate": gate, "gate_open": gate_open, "gate_hold": gate_hold, "gate_lookback": gate_lookback}
        settings = parse_gate(values, lookback=FILE_LOOKBACK_MS)
        check_gate(load(model).spec)
        make = functools.partial(GatedEnhancer, strength=limit, settings=settings)
    run_jobs(jobs, model, overwrite, cores, quiet, as_json, strength=limit, make=make)
