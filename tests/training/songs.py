"""Folders of stems made of the tiny recordings, and a recipe of a stereo network small enough to train in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from tests.training.tiny import TINY
from training.data.song_mixer import RemixSpec
from training.network import NetworkSpec

STEREO = NetworkSpec(
    hop=128,
    analysis_window=768,
    filterbank="short",
    sources=["accompaniment", "vocals"],
    residual_source=True,
    audio_channels=2,
    filter_bins=6,
    filter_frames=3,
    channels=12,
    hidden=16,
    dilations=[1, 2, 4],
)

GATED = replace(STEREO, activity=True, gate_residual=True)  # of RECIPE

RECIPE = """
name: tiny-songs
target: accompaniment
network: {hop: 128, analysis_window: 768, filterbank: short, sources: [accompaniment, vocals], residual_source: true,
  activity: true, gate_residual: true, audio_channels: 2, filter_bins: 6, filter_frames: 3, channels: 12, hidden: 16,
  dilations: [1, 2, 4]}
data: {kind: songs, rooms: 2, copies: [{codec: mp3, kbps: 96}], mix: {seconds: 1.28}}
objective: {snr: 0.1, stretch: 0.5, left: 0.1, activity: 0.5, spectral: 10.0, windows: [1024, 256]}
training: {seed: 5, batch: 2, hours: 0.004, warmup_steps: 2, learning_rate: 1.0e-2}
"""

# Songs as they are: nothing is done to them unless a test asks for it.
PLAIN = RemixSpec(
    seconds=1.28,
    semitones=0.0,
    gain=0.0,
    tilt=0.0,
    width=(1.0, 1.0),
    balance=0.0,
    pan_share=0.0,
    mono_share=0.0,
    swap_share=0.0,
    second_stem_share=0.0,
    room_share=0.0,
    silence_share=0.0,
    lowpass_share=0.0,
)


def music() -> np.ndarray:
    """A real accompaniment, float32 `[2, samples]` at 48 kHz."""
    return soundfile.read(TINY.parent / "music/stems/caesium-accompaniment.opus", dtype="float32")[0].T


def voice(samples: int) -> np.ndarray:
    """A real voice in the middle, float32 `[2, samples]` at 48 kHz, silent for the last quarter."""
    sound = soundfile.read(TINY.parent / "speech48/kathleen/ka000.opus", dtype="float32")[0].T[:samples]
    both = np.zeros((2, samples), np.float32)
    both[:, : len(sound)] = sound
    both[:, samples * 3 // 4 :] = 0
    return both


def stem_folder(root: Path, songs: tuple[str, ...] = ("a", "b", "c"), seconds: float = 5.0) -> Path:
    """`root`/SONG/{vocals,accompaniment}.flac; every song another part, level and voice of the tiny recordings."""
    size = int(48000 * seconds)
    for index, name in enumerate(songs):
        (root / name).mkdir(parents=True)
        backing = np.roll(music(), 9000 * index, 1)[:, :size] * 0.5 * 0.8**index
        sung = voice(size) * 0.6 * 0.9**index
        soundfile.write(root / name / "accompaniment.flac", backing.T, 48000)
        soundfile.write(root / name / "vocals.flac", sung.T, 48000)
    return root
