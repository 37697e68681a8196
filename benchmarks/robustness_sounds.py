"""Excerpts of recordings that benchmarks.robustness makes its cells of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.robustness_cells import RATE, Audio, active_level, band
from rtsep.errors import InputError
from training.data.clip_store import bank_rate, decode
from training.data.manifest import Row, read_manifest
from training.evaluation.speech_metrics import resample

KINDS = {"speech": ("speech",), "noise": ("noise",), "vocals": ("vocals",), "music": ("instrumental", "accompaniment")}


@dataclass(frozen=True)
class Sounds:
    """Excerpts float32 `[clips, samples]` at RATE by kind: speech, noise, vocals, music; empty where there is none."""

    excerpts: dict[str, list[Audio]]
    names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of all samples, in the order of the kinds: two reports with the same one are of the same sounds."""
        digest = hashlib.sha256()
        for kind in sorted(self.excerpts):
            for excerpt in self.excerpts[kind]:
                digest.update(kind.encode() + np.round(excerpt * 32768).astype("<i2").tobytes())
        return digest.hexdigest()


def gather(data: Path, clips: int, seconds: float, seed: int = 0) -> Sounds:
    """`clips` excerpts of each kind from the valid rows of a manifest, voices of as many speakers as there are.

    Raises InputError where the manifest cannot be read or has no valid speech or noise.
    """
    try:
        rows = [row for row in read_manifest(data) if row.split == "valid"]
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from None
    found, names = {}, {}
    for kind, wanted in KINDS.items():
        chosen = _turns([row for row in rows if row.kind in wanted])[:clips]
        if not chosen and kind in ("speech", "noise"):
            raise InputError(f"{data} has no {kind} in its valid split; give a manifest that has.")
        rng = np.random.default_rng((seed, len(kind)))
        count = clips if chosen else 0
        found[kind] = [_excerpt(chosen[index % len(chosen)], round(seconds * RATE), rng) for index in range(count)]
        names[kind] = [row.path.name for row in chosen]
    return Sounds(found, names)


def _turns(rows: list[Row]) -> list[Row]:
    """Rows with corpora and, within them, speakers taking turns: the first few are as different as can be."""
    queues: dict[str, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: str(row.path)):
        queues.setdefault(row.corpus, {}).setdefault(row.speaker or row.path.name, []).append(row)
    lists = []
    for speakers in queues.values():
        longest = max(map(len, speakers.values()))
        lists.append([each[turn] for turn in range(longest) for each in speakers.values() if turn < len(each)])
    return [each[turn] for turn in range(max(map(len, lists), default=0)) for each in lists if turn < len(each)]


def _excerpt(row: Row, samples: int, rng: np.random.Generator) -> Audio:
    """One of some places of a recording, at RATE; repeated where it is too short.

    Of a voice it is the cleanest, without what lies under its lowest tones: rumble and hiss of a recording are no
    speech, and a model that takes them away must not seem to destroy any. Of anything else it is the loudest.
    """
    own = bank_rate(row.sample_rate)
    sound = resample(decode(row) / 32768, own, RATE).astype(np.float32)
    sound = np.tile(sound, -(-samples // len(sound)))
    starts = rng.integers(0, len(sound) - samples + 1, 8)
    parts = [sound[start : start + samples] for start in starts]
    if row.kind == "speech":
        return max((band(70, RATE, part) for part in parts), key=_cleanness)
    return max(parts, key=active_level)


def _cleanness(voice: Audio) -> float:
    """dB between the mean power and that of the softest fifth of the 20 ms frames; −1 where half is silence."""
    frame = RATE // 50
    power = np.sort(np.square(voice[: len(voice) // frame * frame]).reshape(-1, frame).mean(1)) + 1e-12
    softest = power[: max(1, len(power) // 5)].mean()
    # The least that 16 bits hold counts as silence: what is cut to zero is no cleaner than that.
    return float(10 * np.log10(power.mean() / max(softest, 1e-9))) if np.median(power) > 1e-9 else -1.0
