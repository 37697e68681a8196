"""`rtsep denoise`: files in, clean files out; or live, from a microphone (see rtsep.cli.live)."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from rtsep.cli.jobs import run_jobs
from rtsep.cli.shared import MODEL_HELP, cores, finite, flag, verb

_MANY = "Many files on many machines"
_LIVE, _GATE = "Live", "Gate, for models that hear when there is a voice"
TARGET = "speech"
FILE_LOOKBACK_MS = 20.0  # in files it costs nothing


@verb
def denoise(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Sound or video files, folders of them, or - for WAV from standard input.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT|DIR|-|DEV",
            help="A file, or a folder that exists. Default: NAME.denoised.EXT beside the input.",
        ),
    ] = None,
    strength: Annotated[
        str | None, typer.Option(metavar="max|DB", help="Most attenuation of the noise, in dB.", show_default="max")
    ] = None,
    purpose: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="listening|asr",
            help="What the sound is for; asr: at most 9 dB, for a speech recogniser.",
            show_default="listening",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help=MODEL_HELP, show_default="denoise")] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace outputs that exist.")] = False,
    skip_existing: Annotated[
        bool, flag("--skip-existing", help="An output that is there is no failure (nor ever in a batch).")
    ] = False,
    salvage: Annotated[
        bool, flag("--salvage", help="A file that was cut off is no failure; what there is, is always written.")
    ] = False,
    recursive: Annotated[bool, flag("--recursive", "-r", help="Folders with their subfolders.")] = False,
    template: Annotated[
        str | None,
        typer.Option("--name", metavar="TEMPLATE", help="Names of outputs.", show_default="{name}.denoised{ext}"),
    ] = None,
    raw: Annotated[
        str | None,
        typer.Option(metavar="KIND:RATE:CHANNELS", help="What a headerless standard input holds: s16le:48000:1."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Files at a time, at most; 0 is one a CPU core, as ever with --ray.",
            show_default="1",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", help="What computes files: the processor, or an NVIDIA GPU.")
    ] = "cpu",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="On the machines of a Ray cluster: its address, auto or local.",
            rich_help_panel=_MANY,
        ),
    ] = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="With --ray: what is done and failed, to go on from.",
            rich_help_panel=_MANY,
            show_default="OUT/rtsep-manifest.jsonl",
        ),
    ] = None,
    quiet: Annotated[bool, flag("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, flag("--json", help="Print what was done as JSON on standard output.")] = False,
    live: Annotated[bool, flag("--live", help="From a microphone to --output DEVICE.", rich_help_panel=_LIVE)] = False,
    virtual_mic: Annotated[
        bool, flag("--virtual-mic", help="To a microphone that other programs see.", rich_help_panel=_LIVE)
    ] = False,
    follow_default: Annotated[
        bool,
        flag("--follow-default", help="Go with the default microphone (--virtual-mic).", rich_help_panel=_LIVE),
    ] = False,
    notify: Annotated[
        bool, flag("--notify", help="Notifications when no clean sound comes.", rich_help_panel=_LIVE)
    ] = False,
    monitor: Annotated[
        bool, flag("--monitor", help="To the loudspeaker (use headphones).", rich_help_panel=_LIVE)
    ] = False,
    source: Annotated[
        str | None, typer.Option("--input", metavar="DEV", help="See `rtsep devices`.", rich_help_panel=_LIVE)
    ] = None,
    input_channels: Annotated[
        str | None,
        typer.Option(metavar="N|left|right|mean", help="Channels of it to use.", rich_help_panel=_LIVE),
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Frames to ask the device for.", rich_help_panel=_LIVE)
    ] = None,
    slack: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Blocks of delay; 0 is inside the callback.", rich_help_panel=_LIVE),
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
        str | None, typer.Option(metavar="DIR", help="Record input and output.", rich_help_panel=_LIVE)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Begin with these settings.", rich_help_panel=_LIVE)
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Save the settings as a preset.", rich_help_panel=_LIVE)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, metavar="S", help="Stop after so long.", rich_help_panel=_LIVE),
    ] = None,
) -> None:
    """Take the noise out of recordings of speech, or out of a microphone while you speak.

    Whatever libsndfile or ffmpeg reads is read; WAV, FLAC and Ogg are
    written, with the rate, channels, length, sample format and tags of the
    input. Everything else, MP3 and the sound of videos too, becomes FLAC,
    unless -o names MP3, M4A or a video (by ffmpeg): the clean sound is then
    put beside the untouched picture.

    From - to -, sound comes out while it goes in.

    Exit code: 0, or 2 for bad input, 1 for a failure or a file that was cut
    off, 130 after Ctrl-C. No output is ever left half-written, and no input
    is touched.
    """
    from rtsep.audio_io import batch
    from rtsep.audio_io.raw import parse_raw
    from rtsep.errors import InputError
    from rtsep.live.choices import check_gate_options, parse_gate, parse_strength, strength_for
    from rtsep.model import check_target

    gating = {"gate": gate, "gate_open": gate_open, "gate_hold": gate_hold, "gate_lookback": gate_lookback}
    strength = strength_for(purpose, strength)
    if preset is not None and files and not (live or virtual_mic or monitor):
        from rtsep.live.presets import load_preset

        # what a preset says about devices, and a model that is chosen by the machine's speed, are for live sound
        chosen = load_preset(preset)
        model = chosen.get("model") if model is None else model
        strength = chosen.get("strength") if strength is None else strength
        gating = {key: chosen.get(key) if value is None else value for key, value in gating.items()}
    elif live or virtual_mic or monitor or preset is not None:
        from rtsep.cli.live import run_live

        run_live(
            *(files, virtual_mic, monitor, source, output, strength, model, block, slack),
            *(gate, gate_open, gate_hold, gate_lookback, record, preset, save, as_json, seconds),
            *(input_channels, follow_default, notify),
        )
        return
    strength, model = "max" if strength is None else str(strength), "denoise" if model in (None, "auto") else str(model)
    only_live: dict[str, object] = {
        "--input": source,
        "--input-channels": input_channels,
        "--block": block,
        "--slack": slack,
        "--record": record,
        "--save": save,
    }
    only_live |= {"--follow-default": follow_default or None, "--notify": notify or None}
    for option, value in (only_live | {"--seconds": seconds}).items():
        if value is not None:
            raise InputError(f"{option} is for live sound; add --live, --virtual-mic or --monitor.")
    if not files:
        typer.echo(context.get_help())
        return
    check_gate_options(gating)
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device is {device!r}; it must be cpu or cuda.")
    if ray is not None:
        from rtsep.cli.ray_batch import run_on_ray

        only_here = {
            "--raw": raw,
            "--gate": gating["gate"],
            "--salvage": salvage or None,
            "--device": None if device == "cpu" else device,
        }
        run_on_ray(
            files,
            output,
            ray,
            model,
            strength,
            only_here,
            as_json,
            quiet,
            recursive,
            template,
            overwrite,
            workers,
            manifest,
        )
        return
    if manifest is not None:
        raise InputError("--manifest is for --ray; elsewhere the outputs that are there tell what is done.")
    remote = [file for file in (*files, output or "") if "://" in file]
    if remote:
        raise InputError(f"{remote[0]} is not on this machine; add --ray ADDRESS, or --ray local.")
    if raw is not None and batch.STANDARD not in files:
        raise InputError("--raw says what standard input holds; name - as the file.")
    unheaded = None if raw is None else parse_raw(raw)
    check_target(model, TARGET)
    jobs = batch.plan(files, output, recursive=recursive, template=template)
    limit, make = parse_strength(strength), None
    if gating["gate"] not in (None, "off"):
        from rtsep.engine.gate import GatedEnhancer
        from rtsep.engine.gate_settings import check_gate
        from rtsep.model import look_at

        settings = parse_gate(gating, lookback=FILE_LOOKBACK_MS)
        assert settings is not None  # for it is not off
        check_gate(look_at(model).spec)
        make = functools.partial(GatedEnhancer, strength=limit, settings=settings)
    run_jobs(
        *(jobs, model, overwrite, 1 if workers is None else workers or cores(), quiet, as_json, limit, make),
        salvage=salvage,
        skip_existing=skip_existing,
        raw=unheaded,
        backend="cuda" if device == "cuda" else None,
    )
