"""`rtsep export-flat`, `rtsep export-pipewire` and `rtsep web`: models for other hosts than rtsep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.shared import MODEL_HELP, flag, verb
from rtsep.errors import InputError

ModelOption = Annotated[str, typer.Option(metavar="M", help=MODEL_HELP)]
OverwriteOption = Annotated[bool, flag("--overwrite", help="Replace files that exist.")]


@verb
def export_flat(
    output: Annotated[str, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    model: ModelOption = "denoise-small",
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model as one graph with all its memory in one input, for any ONNX runtime in any language.

    A hop of sound and the state go in, every source and the next state come
    out; the state is zero at first.
    """
    from rtsep.export.files import write_files
    from rtsep.export.flat_form import flat_model

    path = Path(output)
    if path.suffix != ".onnx":
        raise InputError(f"{output} is no name of a model; it must end in .onnx.")
    flat = flat_model(model)
    write_files(path.parent, {path.name: flat.content()}, overwrite)
    spec = flat.spec
    typer.echo(
        f"{path}: hop [{spec.channels}, {spec.hop}] and state [{flat.state_size}] at {spec.sample_rate} Hz, to audio "
        f"[{len(spec.sources)}, {spec.channels}, {spec.hop}] ({', '.join(spec.sources)}) and next_state.",
        err=True,
    )


@verb
def export_pipewire(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the model and the configuration go.")],
    model: ModelOption = "denoise-small",
    strength: Annotated[
        str | None, typer.Option(metavar="max|DB", help="Most attenuation of the noise, in dB.", show_default="max")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model and a filter chain that makes a clean microphone in PipeWire 1.6 or newer, without rtsep."""
    from rtsep.export.files import write_files
    from rtsep.export.flat_form import flat_model
    from rtsep.export.pipewire import CONFIGURATION, MODEL, configuration, older_pipewire_here, pipewire_model
    from rtsep.live.choices import parse_strength

    limit = parse_strength("max" if strength is None else strength)
    filtered = pipewire_model(flat_model(model))
    name, place = filtered.spec.name, Path(folder).absolute()
    text = configuration(filtered, place / MODEL.format(name=name), limit)
    files = {MODEL.format(name=name): filtered.content(), CONFIGURATION.format(name=name): text.encode()}
    write_files(Path(folder), files, overwrite)
    typer.echo(f"{place / CONFIGURATION.format(name=name)} tells in its first lines how it is used.", err=True)
    if version := older_pipewire_here():
        typer.echo(f"The PipeWire of this machine is {version}, which has no such filter; 1.6 is the first.", err=True)


@verb
def web(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the page goes.")],
    model: ModelOption = "denoise-small",
    runtime: Annotated[
        str | None, typer.Option(metavar="FILE", help="Package of onnxruntime-web; by default npm fetches it.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a page that cleans the visitor's microphone, or a file, in the browser itself.

    Any server of static files will do; nothing is sent anywhere.
    """
    from rtsep.export.files import write_files
    from rtsep.export.flat_form import flat_model
    from rtsep.export.web import page

    write_files(Path(folder), page(flat_model(model), None if runtime is None else Path(runtime)), overwrite)
    typer.echo(f"Written to {folder}; to see it: python -m http.server --directory {folder}", err=True)
