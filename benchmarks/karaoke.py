"""Voice removal of every method on whole songs: baselines, models, ideal masks, and the input itself.

    python -m benchmarks.karaoke --songs MANIFEST|FOLDER [--split S] [--seconds S] [--gain DB] [--model NAME|PATH]...
                                 [--json PATH [--resume]] [--only METHOD]...

What `--songs` may be is said in `benchmarks.songs`. Models and baselines run through the very `Stream` that users run,
at full strength, in blocks of 10 ms, their latency removed; Spleeter, if it was added, as files do. Scores are those of
`training.evaluation.song_metrics`.
The real-time factor is CPU time (one thread) a second of sound.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import rtsep
from benchmarks.fastica import fast_ica
from benchmarks.machine import environment
from benchmarks.songs import Song, find_songs
from rtsep.engine.enhance import BACKEND
from rtsep.engine.song_enhancer import SongEnhancer
from rtsep.errors import InputError
from rtsep.karaoke.song_parts import DEFAULT, FOR_FILES
from rtsep.model import SpectralModel, baselines, installed, shipped
from training.evaluation import song_metrics
from training.evaluation.evaluate import describe, write_json
from training.evaluation.ideal_masks import HOP, WINDOW, ideal_mask
from training.evaluation.speech_metrics import resample
from training.one_sentence import one_sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

BLOCK_S = 0.01
RULES = {
    "voiced": f"frames of 0.1 s less than {-song_metrics.VOICED_DB:g} dB under the loudest one of the true vocals",
    "free": f"frames more than {-song_metrics.FREE_DB:g} dB under it, as are all within 0.5 s",
    "ideal masks": f"STFT of {WINDOW} samples, hop {HOP}, one mask a channel",
}


@dataclass(frozen=True)
class Estimate:
    """Vocals and accompaniment `[samples, channels]` aligned with the song, and the CPU seconds they took."""

    vocals: Audio
    accompaniment: Audio
    cpu_s: float


@dataclass(frozen=True)
class Method:
    """A row of the table: `kind` is input, baseline, model, offline or bound."""

    name: str
    kind: str
    facts: dict[str, Any]
    run: Callable[[Song], Estimate]


def streamed(model: rtsep.Model, song: Song) -> Estimate:
    """The song through a Stream at the model's rate; a song at another rate is converted whole, there and back."""
    own = model.spec.sample_rate
    x = _resampled(song.mixture, song.rate, own)
    stream = model.stream(channels=x.shape[1])
    block = round(own * BLOCK_S)
    out = np.empty((len(model.spec.sources), *x.shape), np.float32)
    start = time.process_time()
    for at in range(0, len(x), block):
        stream.process(x[at : at + block], out[:, at : at + block], sources=True)
    cpu_s = time.process_time() - start
    late = stream.latency
    whole = np.concatenate([out[:, late:], stream.flush(sources=True).reshape(len(out), late, -1)], axis=1)
    found = dict(zip(model.spec.sources, whole, strict=True))
    vocals, accompaniment = (
        _fit(_resampled(found[name], own, song.rate), len(song.mixture)) for name in ("vocals", "accompaniment")
    )
    return Estimate(vocals, accompaniment, cpu_s)


def in_segments(model: SpectralModel, song: Song) -> Estimate:
    """The song through a separator that sees whole segments, as files go."""
    start = time.process_time()
    enhancer = SongEnhancer(model, song.rate, 2)
    sources = np.concatenate([enhancer.process_sources(song.mixture), enhancer.flush_sources()], axis=1)
    cpu_s = time.process_time() - start
    found = dict(zip(model.spec.sources, sources, strict=True))
    return Estimate(found["vocals"], found["accompaniment"], cpu_s)


def _resampled(x: Audio, source: int, target: int) -> Audio:
    return np.ascontiguousarray(resample(x, source, target), np.float32)


def _fit(x: Audio, length: int) -> Audio:
    return np.pad(x, ((0, max(0, length - len(x))), (0, 0)))[:length]


def _of_accompaniment(make: Callable[[Song], Audio]) -> Callable[[Song], Estimate]:
    def run(song: Song) -> Estimate:
        start = time.process_time()
        accompaniment = make(song)
        cpu_s = time.process_time() - start
        return Estimate(song.mixture - accompaniment, accompaniment, cpu_s)

    return run


def _untouched(song: Song) -> Estimate:
    return Estimate(song.mixture, song.mixture, 0.0)


def _model(name: str, kind: str) -> Method:
    model = rtsep.load(name, BACKEND)
    if not {"vocals", "accompaniment"} <= set(model.spec.sources):
        raise InputError(f"{name} separates {', '.join(model.spec.sources)}, not vocals and accompaniment.")
    facts = describe(model)
    if isinstance(model, SpectralModel):
        return Method(Path(name).name, kind, facts, lambda song: in_segments(model, song))
    facts["latency_ms"] = facts["algorithmic_latency_ms"]
    if kind == "model":
        facts["backend"] = model.backend
    return Method(Path(name).name, kind, facts, lambda song: streamed(model, song))


def methods(models: Sequence[str]) -> Iterator[Method]:
    """Input, baselines, FastICA, the shipped karaoke model, Spleeter if it was added, the models asked for, bounds."""
    yield Method("input", "input", {"latency_ms": 0.0}, _untouched)
    for name in baselines():
        yield _model(name, "baseline")
    yield Method("FastICA", "offline", {}, _of_accompaniment(lambda song: fast_ica(song.mixture, song.rate)))
    own = [name for name in (*shipped(), *installed()) if name in (DEFAULT, FOR_FILES)]
    for name in dict.fromkeys([*own, *models]):
        yield _model(name, "model")
    for ratio, name in ((False, "ideal binary mask"), (True, "ideal ratio mask")):
        yield Method(
            name,
            "bound",
            {},
            _of_accompaniment(lambda song, ratio=ratio: ideal_mask(song.vocals, song.accompaniment, ratio)),  # type: ignore[misc]
        )


def check_names(every: Sequence[Method], only: Sequence[str]) -> None:
    """Raises InputError for a name that no method has."""
    names = [method.name for method in every]
    if missing := [name for name in only if name not in names]:
        raise InputError(f"{missing[0]} is none of {', '.join(names)}.")


def measure(method: Method, songs: Sequence[Song], tell: Callable[[str], None]) -> dict[str, Any]:
    """Facts of one method, its scores on every song, their medians, and its real-time factor."""
    rows: list[dict[str, Any]] = []
    cpu = seconds = 0.0
    for song in songs:
        tell(f"{method.name}: {song.name}")
        made = method.run(song)
        found = song_metrics.score(song.vocals, song.accompaniment, made.vocals, made.accompaniment, song.rate)
        rows.append({"song": song.name, **found, "cpu_s": made.cpu_s})
        cpu, seconds = cpu + made.cpu_s, seconds + song.seconds
    rtf = cpu / seconds if method.kind in ("baseline", "model") else None
    summary = song_metrics.median(rows)
    facts = {"name": method.name, "kind": method.kind, "method": method.facts, "rtf": rtf}
    return {**facts, "summary": summary, "rows": rows}


def plain(values: Any) -> Any:
    """What a JSON file gives back: rounded, null for what is not finite; so that old and new can be compared."""
    return json.loads(json.dumps(values), parse_float=lambda text: round(float(text), 6), parse_constant=lambda _: None)


def known(report: dict[str, Any], songs: list[dict[str, Any]], method: Method) -> dict[str, Any] | None:
    """The result of the very method on the very songs in an earlier report, if it is there."""
    if report.get("songs") != songs or report.get("rules") != RULES:
        return None
    facts = plain(method.facts)
    return next(
        (entry for entry in report["results"] if (entry["name"], entry["method"]) == (method.name, facts)), None
    )


def cells(entry: dict[str, Any]) -> list[str]:
    """Latency (ms), every measure and the real-time factor of one result, as a table shows them."""
    latency, rtf = entry["method"].get("latency_ms"), entry["rtf"]
    scores = []
    for name, (_, decimals) in song_metrics.MEASURES.items():
        value = entry["summary"][name]
        scores.append("-" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}")
    return ["-" if latency is None else f"{latency:.2f}", *scores, "-" if rtf is None else f"{rtf:.3f}"]


HEADER = ("latency ms", *(title for title, _ in song_metrics.MEASURES.values()), "real-time factor")


def table(results: Sequence[dict[str, Any]], songs: Sequence[Song]) -> Table:
    """Methods down, measures across."""
    drawn = Table(title=f"{len(songs)} song{'s' * (len(songs) > 1)}, {sum(song.seconds for song in songs):.0f} s")
    drawn.add_column("method")
    for title in HEADER:
        drawn.add_column(title, justify="right")
    for entry in results:
        drawn.add_row(entry["name"], *cells(entry))
    return drawn


def about(song: Song) -> dict[str, Any]:
    """Name, length, rate, share of voiced and free frames, and sha256 of the samples of a song."""
    voiced, free = song_metrics.passages(song.vocals, song.rate)
    digest = hashlib.sha256(song.vocals.tobytes() + song.accompaniment.tobytes()).hexdigest()
    shares = {"voiced": float(voiced.mean()), "free": float(free.mean())}
    return {"name": song.name, "seconds": song.seconds, "sample_rate": song.rate, **shares, "sha256": digest}


def main(
    songs: Annotated[Path, typer.Option(help="A manifest (CSV), a MUSDB folder, or a folder of stem folders.")],
    model: Annotated[list[str] | None, typer.Option(help="One more model to score; may be repeated.")] = None,
    split: Annotated[str, typer.Option(help="Which rows of a manifest, or part of MUSDB.")] = "test",
    seconds: Annotated[float | None, typer.Option(min=1.0, help="Only so much of the middle of a song.")] = None,
    gain: Annotated[
        float, typer.Option(min=-40, max=40, help="dB by which the vocals are louder than they are in the songs.")
    ] = 0.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here, method by method.")] = None,
    resume: Annotated[bool, typer.Option(help="Keep what the JSON file already says about these songs.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Measure only the method of this name; may be repeated.")
    ] = None,
) -> None:
    """Print how well every method takes the vocals out of SONGS."""
    with one_sentence():
        every = list(methods(model or []))
        check_names(every, only or [])
        found = find_songs(songs, split, seconds, gain)
        told = plain([about(song) for song in found])
        earlier = _earlier(json_path) if resume else {}
        console, progress = Console(), Console(stderr=True)
        results: list[dict[str, Any]] = []
        for method in every:
            entry = known(earlier, told, method)
            if not entry and (not only or method.name in only):
                entry = plain(measure(method, found, progress.print))
            if entry:
                results.append(entry)
            if json_path:
                write_json(json_path, {"format": 1, **environment(), "rules": RULES, "songs": told, "results": results})
        console.print(table(results, found))


def _earlier(path: Path | None) -> dict[str, Any]:
    if path is None:
        raise InputError("--resume needs --json, the file to go on from.")
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError):
        raise InputError(f"{path} is no earlier result of this benchmark; name another file.") from None


if __name__ == "__main__":
    typer.run(main)
