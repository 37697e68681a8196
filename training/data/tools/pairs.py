"""Fixed pairs from the valid split: what checkpoints are compared on, so that the test set is only reported on.

    python -m training.data.tools.pairs RECIPE OUT --data MANIFEST.csv   (or --speech FOLDER --noise FOLDER)

writes OUT/clean/NAME.flac and OUT/noisy/NAME.flac as `training.evaluation.evaluate` reads them. Same seed, same files.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import soundfile
import torch
import typer

from training.data.rows import gather_rows
from training.data.speech_mixer import Mixer, MixSpec
from training.recipe import Recipe, read_recipe
from training.tasks.speech import SpeechTask

SNRS = (-5, 0, 5, 10, 15)


def write_pairs(recipe: Recipe, mixer: Mixer, out: Path, count: int, seconds: float) -> None:
    """`count` pairs of `seconds`, float32 → 24-bit FLAC, SNR going round −5 to 15 dB, speech and noise always there."""
    for part in ("clean", "noisy"):
        (out / part).mkdir(parents=True)
    for index in range(count):
        snr = SNRS[index % len(SNRS)]
        assert isinstance(recipe.mix, MixSpec)
        spec = replace(
            recipe.mix.usual(),
            seconds=seconds,
            snr=(snr, snr),
            level=(-30.0, -20.0),
            no_speech_share=0.0,
            no_noise_share=0.0,
            silence_share=0.0,
        )
        one = Mixer(mixer.speech, mixer.noise, mixer.music, spec, mixer.rate, mixer.seed, hop=recipe.network.hop)
        speech, noise = one.batch(index, 1)[0].cpu().numpy()
        for part, sound in (("clean", speech), ("noisy", speech + noise)):
            soundfile.write(out / part / f"{index:03}_valid_mix_snr{snr}.flac", sound, mixer.rate, subtype="PCM_24")


def main(
    recipe: Annotated[Path, typer.Argument(help="A YAML of training/recipes.")],
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    data: Annotated[Path | None, typer.Option(help="A manifest.csv.")] = None,
    speech: Annotated[list[Path], typer.Option(help="A folder of clean speech, as given to training.")] = [],  # noqa: B006
    noise: Annotated[list[Path], typer.Option(help="A folder of noise, as given to training.")] = [],  # noqa: B006
    count: Annotated[int, typer.Option(min=1, help="Number of pairs.")] = 40,
    seconds: Annotated[float, typer.Option(min=1, max=30, help="Length of each.")] = 6.0,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings.")] = None,
) -> None:
    """Write fixed pairs of the valid split to OUT."""
    try:
        if out.exists():
            raise ValueError(f"{out} exists already; name a folder that does not.")
        parsed = replace(read_recipe(recipe), rooms=0)
        if parsed.task != "speech":
            raise ValueError(f"Pairs are of speech and noise, and {recipe.name} is about {parsed.task}.")
        rows = gather_rows(data, speech, noise)
        SpeechTask.check_rows(rows)
        mixer = SpeechTask.build_mixer(parsed, rows, "valid", cache, 20201, torch.device("cpu"))
        write_pairs(parsed, mixer, out, count, seconds)
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
