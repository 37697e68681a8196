"""How well the training's PESQ proxy follows the real `pesq` (wide band), apart for noisy and for enhanced speech.

    python -m benchmarks.pesq_proxy --data MANIFEST.csv [--model M.onnx ...] [--clips 500] [--json PATH]

Clips are mixed at 16 kHz from recordings of the manifest's train split and of the held-out valid rows (never of the
test split), SNR −5 to 30 dB. Enhanced clips come from the models named and from two classical methods, whose artefacts
(musical noise, smeared onsets) are of other kinds than a network's. No figure here says how good a model is.

The largest errors are clips that `pesq` itself takes to be delayed, by up to 1.5 s, although they are not.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "bench")

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import istft, stft
from scipy.stats import pearsonr, spearmanr

import rtsep
from benchmarks.machine import environment
from rtsep.errors import InputError
from training.data.clip_store import bank_rate, decode
from training.data.manifest import Row, read_manifest
from training.evaluation import speech_metrics
from training.evaluation.evaluate import write_json
from training.losses.pesq_proxy import PesqProxy
from training.one_sentence import one_sentence

RATE = 16000
Enhance = Callable[[np.ndarray], np.ndarray]


def spectral_subtraction(noisy: np.ndarray) -> np.ndarray:
    """Power spectral subtraction with oversubtraction and a floor (Berouti et al. 1979): leaves musical noise."""
    _, _, spectrum = stft(noisy, RATE, nperseg=512)
    power = np.abs(spectrum) ** 2
    gain = np.sqrt(np.maximum(1 - 2 * quiet_power(power) / (power + 1e-12), 0.02))
    return istft(spectrum * gain, RATE, nperseg=512)[1][: len(noisy)].astype(np.float32)


def wiener(noisy: np.ndarray) -> np.ndarray:
    """Wiener filter on the decision-directed a-priori SNR (Ephraim & Malah 1984): smears onsets, hums in pauses."""
    _, _, spectrum = stft(noisy, RATE, nperseg=512)
    posterior = np.abs(spectrum) ** 2 / (quiet_power(np.abs(spectrum) ** 2) + 1e-12)
    gain = np.ones_like(posterior)
    before = posterior[:, 0]
    for frame in range(posterior.shape[1]):
        prior = 0.98 * before + 0.02 * np.maximum(posterior[:, frame] - 1, 0)
        gain[:, frame] = np.maximum(prior / (1 + prior), 0.05)
        before = gain[:, frame] ** 2 * posterior[:, frame]
    return istft(spectrum * gain, RATE, nperseg=512)[1][: len(noisy)].astype(np.float32)


def quiet_power(power: np.ndarray) -> np.ndarray:
    """Noise power `[bins, 1]` from that of `[bins, frames]`: its 0.2-quantile, 0.22 of Gaussian noise."""
    return 4 * np.quantile(power, 0.2, axis=1, keepdims=True)


def pick(rows: Sequence[Row], kind: str, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`count` recordings of a kind, float32 at 16 kHz, the corpora in turn; the test split is left out."""
    corpora: dict[str, list[Row]] = {}
    for index in rng.permutation(len(rows)):
        row = rows[index]
        if row.kind == kind and row.split != "test" and row.seconds >= 2:
            corpora.setdefault(row.corpus, []).append(row)
    chosen = [row for turn in zip_longest(*corpora.values()) for row in turn if row is not None][:count]
    if not chosen:
        raise InputError(f"The manifest has no {kind} of 2 s or more outside its test split.")
    waves = []
    for row in track(chosen, f"decoding {kind}", console=Console(stderr=True), transient=True):
        rate = bank_rate(row.sample_rate)
        waves.append(speech_metrics.resample(decode(row) / 32767, rate, RATE).astype(np.float32))
    return waves


def cut(wave: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A random segment `[size]`, the recording repeated if it is shorter."""
    wave = np.tile(wave, -(-size // len(wave)))
    start = int(rng.integers(0, len(wave) - size + 1))
    return wave[start : start + size]


def mixtures(
    speech: Sequence[np.ndarray], noise: Sequence[np.ndarray], count: int, size: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` pairs (clean, noisy), float32 `[size]`; segments that are mostly silence are drawn again."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    while len(pairs) < count:
        clean = cut(speech[len(pairs) % len(speech)], size, rng)
        other = cut(noise[int(rng.integers(len(noise)))], size, rng)
        power = clean[: size // 320 * 320].reshape(-1, 320).std(1)
        if (power > 0.01).mean() < 0.3 or other.std() < 1e-4:
            continue
        gain = clean.std() / other.std() * 10 ** (-rng.uniform(-5, 30) / 20)
        noisy = clean + gain * other
        scale = 0.9 / max(1.0, float(np.abs(noisy).max()))
        pairs.append((clean * scale, (noisy * scale).astype(np.float32)))
    return pairs


def agreement(rows: Sequence[dict[str, Any]], guess: str = "proxy") -> dict[str, float]:
    """Count, Pearson and Spearman correlation of column `guess` with `pesq`, mean and largest absolute error in MOS."""
    real, found = (np.array([row[key] for row in rows]) for key in ("pesq", guess))
    error = np.abs(found - real)
    return {
        "clips": len(rows),
        "pearson": float(pearsonr(real, found).statistic),
        "spearman": float(spearmanr(real, found).statistic),
        "mean_error": float(error.mean()),
        "max_error": float(error.max()),
        "lowest": float(real.min()),
        "highest": float(real.max()),
    }


class Judge:
    """Scores one clip by `pesq` and by the proxy at 16 and at 48 kHz."""

    def __init__(self) -> None:
        self.narrow, self.wide = PesqProxy(RATE), PesqProxy(3 * RATE)

    def __call__(self, method: str, clean: np.ndarray, estimate: np.ndarray) -> dict[str, Any]:
        both = torch.from_numpy(np.stack([estimate, clean]).astype(np.float32))
        full = torch.from_numpy(
            np.stack([speech_metrics.resample(wave, RATE, 3 * RATE) for wave in (estimate, clean)])
        ).float()
        with torch.no_grad():
            proxy = self.narrow.score(both[:1], both[1:]).item()
            proxy48 = self.wide.score(full[:1], full[1:]).item()
        return {
            "method": method,
            "pesq": speech_metrics.pesq_wb(clean, estimate, RATE),
            "proxy": proxy,
            "proxy48": proxy48,
        }


def table_of(regimes: dict[str, dict[str, float]]) -> Table:
    table = Table(title="PESQ proxy against pesq (wide band)")
    table.add_column("clips of")
    for title in ("clips", "Pearson", "Spearman", "mean error", "max error", "PESQ range"):
        table.add_column(title, justify="right")
    for name, found in regimes.items():
        numbers = [f"{found[key]:.3f}" for key in ("pearson", "spearman", "mean_error", "max_error")]
        table.add_row(name, str(found["clips"]), *numbers, f"{found['lowest']:.2f} to {found['highest']:.2f}")
    return table


def main(
    data: Annotated[Path, typer.Option(help="A manifest.csv.")],
    model: Annotated[list[str] | None, typer.Option(help="A model to score too; may be repeated.")] = None,
    clips: Annotated[int, typer.Option(min=3, help="Clips of each regime: noisy, and enhanced by all methods.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a clip.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the choice of clips.")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Print how the proxy correlates with pesq on noisy and on enhanced speech."""
    rng = np.random.default_rng(seed)
    torch.set_num_threads(1)
    with one_sentence():
        methods: dict[str, Enhance] = {"spectral subtraction": spectral_subtraction, "Wiener": wiener}
        for name in model or []:
            methods[Path(name).stem] = partial(rtsep.enhance, sample_rate=RATE, model=rtsep.load(name))
        rows = read_manifest(data)
        speech, noise = pick(rows, "speech", min(clips, 100), rng), pick(rows, "noise", min(clips, 60), rng)
        judge, found = Judge(), []
        pairs = mixtures(speech, noise, clips, int(seconds * RATE), rng)
        for index, (clean, noisy) in enumerate(track(pairs, "scoring", console=Console(stderr=True), transient=True)):
            name, enhance = list(methods.items())[index % len(methods)]
            found.append(judge("noisy", clean, noisy))
            found.append(judge(name, clean, enhance(noisy)))
        unscored = sum(not np.isfinite(row["pesq"]) for row in found)
        found = [row for row in found if np.isfinite(row["pesq"])]  # pesq found no utterance
        enhanced = [row for row in found if row["method"] != "noisy"]
        untouched = [row for row in found if row["method"] == "noisy"]
        regimes = {"noisy": agreement(untouched), "enhanced": agreement(enhanced)}
        regimes |= {f"  {name}": agreement([row for row in enhanced if row["method"] == name]) for name in methods}
        regimes |= {"noisy, proxy at 48 kHz": agreement(untouched, "proxy48")}
        regimes |= {"enhanced, proxy at 48 kHz": agreement(enhanced, "proxy48")}
        Console().print(table_of(regimes))
        if json_path:
            json_path.parent.mkdir(parents=True, exist_ok=True)
            settings = {"seconds": seconds, "seed": seed, "without_utterance": unscored}
            regimes = {name.strip(): numbers for name, numbers in regimes.items()}
            write_json(json_path, {"format": 1, **environment(), **settings, "regimes": regimes, "clips": found})


if __name__ == "__main__":
    typer.run(main)
