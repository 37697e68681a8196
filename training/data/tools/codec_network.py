"""Trains a network to do to speech what a codec of few bits does, for the loss `codec`.

    python -m training.data.tools.codec_network OUT.pt --data MANIFEST.csv --codec opus --kbps 16

Coding is real: ffmpeg's encoder and decoder, in mono of 48 kHz.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from training.checkpoints import save
from training.data.augment.offline_augment import CODECS, coded
from training.data.clip_store import Bank, build_banks
from training.data.rows import gather_rows
from training.losses.codec import CodecNetwork
from training.losses.compressed_spectrum import compressed_error
from training.losses.spectrum import spectrum
from training.one_sentence import one_sentence

SIZE, BATCH = 24576, 8


def pieces(bank: Bank, count: int, codec: str, kbps: int, seed: int) -> tuple[Tensor, Tensor]:
    """`count` pieces of half a second as they are and as the decoder gives them, `[count, SIZE]` each, RMS 0.1."""
    rng = np.random.default_rng(seed)
    waves = bank.cut(bank.pick(rng, count), SIZE, rng, wrap=False)
    waves *= 0.1 / (waves.square().mean(1, keepdim=True).sqrt() + 1e-3)
    waves = waves.clamp(-1, 1)
    joined = waves.flatten().numpy()
    heard = coded(np.stack([joined, joined])[None], bank.rate, codec, kbps)[0].mean(0)
    return waves, torch.from_numpy(heard.astype(np.float32)).view(count, SIZE)


def error(made: Tensor, heard: Tensor) -> Tensor:
    """How far what the network made is from what the decoder gave: samples, and compressed spectra; a scalar."""
    one, other = (spectrum(waves / 0.1) for waves in (made, heard))
    return (made - heard).abs().mean() / 0.1 + compressed_error(one, other).mean()


def fit(network: CodecNetwork, plain: Tensor, heard: Tensor, steps: int, rate: float = 2e-3) -> None:
    """Trains for so many steps on batches of the pieces."""
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    draw = torch.Generator().manual_seed(0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        picked = torch.randint(len(plain), (BATCH,), generator=draw)
        loss = error(network(plain[picked]), heard[picked])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main(
    out: Annotated[Path, typer.Argument(help="Where the network goes, a .pt file.")],
    data: Annotated[Path, typer.Option(help="A manifest.csv with speech.")],
    codec: Annotated[str, typer.Option(help=f"One of {', '.join(CODECS)}.")] = "opus",
    kbps: Annotated[int, typer.Option(min=6, max=320, help="Few, so that what is masked is dropped.")] = 16,
    count: Annotated[int, typer.Option(min=BATCH, help="Pieces of half a second.")] = 1000,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 8.")] = 2000,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train the network of a codec and tell its error beside that of doing nothing, on pieces it has not heard."""
    with one_sentence():
        if codec not in CODECS:
            raise ValueError(f"--codec is one of {', '.join(CODECS)}, not {codec}.")
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        rows = [row for row in gather_rows(data, [], []) if row.kind == "speech" and row.split == "train"]
        bank = build_banks(rows, {}, 1.0, cache).get(48000)
        if bank is None:
            raise ValueError(f"{data} has no speech of 48000 Hz to train on.")
        network = CodecNetwork()
        fit(network.train(), *pieces(bank, count, codec, kbps, 0), steps)
        save(out, network.packed(codec, kbps))
        plain, heard = pieces(bank, 32, codec, kbps, 1)
        with torch.no_grad():
            left, before = float(error(network.eval()(plain), heard)), float(error(plain, heard))
        typer.echo(f"{out}: error {left:.4f}, of doing nothing {before:.4f}")


if __name__ == "__main__":
    typer.run(main)
