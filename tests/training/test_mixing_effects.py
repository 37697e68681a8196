"""Each thing that the mixers do to a sound, alone and with all others off: left out of the code, a test here fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.training import songs as song_files
from tests.training.songs import stem_folder
from training.data.clip_store import build_banks
from training.data.datasets import read_dataset
from training.data.manifest import scan_folder
from training.data.song_clips import load_clips, pair_songs
from training.data.song_mixer import SongMixer
from training.data.speech_mixer import Mixer, MixSpec

RATE = 48000
TONES = (1500.0, 6000.0)  # Hz, one a noise file
PLAIN = MixSpec(
    seconds=1.28,
    wide_share=1.0,
    noise_kinds={"recorded": 1.0},
    second_noise_share=0.0,
    room_share=0.0,
    lowpass_share=0.0,
    speech_tilt=0.0,
    noise_tilt=0.0,
    silence_share=0.0,
    no_speech_share=0.0,
    no_noise_share=0.0,
)
PLAIN_SONGS = replace(song_files.PLAIN, balance=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech that is white noise, and noise files that are one tone each: what is done to them can be read off."""
    root = tmp_path_factory.mktemp("sounds")
    for kind in ("speech", "noise", "white"):
        (root / kind).mkdir()
    generator = np.random.default_rng(7)
    time = np.arange(4 * RATE) / RATE
    for index, hertz in enumerate(TONES):
        tone = 0.3 * np.sin(2 * np.pi * hertz * time)
        soundfile.write(root / "noise" / f"tone{index}.wav", tone, RATE, subtype="FLOAT")
    for index in range(2):
        for kind in ("speech", "white"):
            sound = generator.standard_normal(4 * RATE) * 0.1
            soundfile.write(root / kind / f"{kind}{index}.wav", sound, RATE, subtype="FLOAT")
    return root


def mixer(folder: Path, spec: MixSpec, noise: str = "noise", rooms: np.ndarray | None = None) -> Mixer:
    banks = [
        build_banks(scan_folder(folder / kind, label), {}, 1.0)
        for kind, label in (("speech", "speech"), (noise, "noise"))
    ]
    return Mixer(*banks, {}, spec, RATE, seed=5, rooms=rooms)


def tones(noise: torch.Tensor) -> np.ndarray:
    """How many of the two tones (at whatever speed they are played) each noise holds, `[batch]`."""
    spectrum = torch.fft.rfft(noise * torch.hann_window(noise.shape[-1])).abs()
    hertz = torch.arange(spectrum.shape[-1]) * RATE / noise.shape[-1]
    low, high = spectrum[:, hertz < 3000].amax(-1), spectrum[:, hertz > 3500].amax(-1)
    loudest = torch.maximum(low, high)
    return ((low > loudest * 0.02).int() + (high > loudest * 0.02).int()).numpy()


def test_a_second_noise_is_heard_below_the_first_and_only_where_it_is_asked_for(folder: Path) -> None:
    one = tones(mixer(folder, PLAIN).batch(0, 32)[:, 1])
    two = tones(mixer(folder, replace(PLAIN, second_noise_share=1.0)).batch(0, 32)[:, 1])
    assert (one == 1).all()
    assert 8 <= (two == 2).sum() < 32  # the second one may be the same file


def band_levels(sound: torch.Tensor) -> torch.Tensor:
    """dB of eight bands up to 16 kHz beside the mean of all, `[batch, 8]`."""
    power = torch.fft.rfft(sound).abs().square()[:, 100:20100].unflatten(-1, (-1, 100)).mean(-1)
    levels = 10 * power[:, : power.shape[1] // 8 * 8].unflatten(-1, (8, -1)).mean(-1).log10()
    return levels - levels.mean(-1, keepdim=True)


@pytest.mark.parametrize("part", ["speech", "noise"])
def test_a_tilt_colours_its_own_part_and_no_other(folder: Path, part: str) -> None:
    index = ("speech", "noise").index(part)
    coloured_spec = replace(PLAIN, speech_tilt=9.0) if part == "speech" else replace(PLAIN, noise_tilt=9.0)
    flat = mixer(folder, PLAIN, "white").batch(1, 16)
    coloured = mixer(folder, coloured_spec, "white").batch(1, 16)
    assert band_levels(flat[:, index]).std() < 1.0
    assert band_levels(coloured[:, index]).std() > 2.0
    assert band_levels(coloured[:, 1 - index]).std() < 1.0


def test_a_room_is_what_its_impulse_response_says(folder: Path) -> None:
    delay = 1200
    rooms = np.zeros((1, 4000), np.float32)
    rooms[0, delay] = 1.0
    dry = mixer(folder, PLAIN, "white", rooms).batch(2, 4)
    wet = mixer(folder, replace(PLAIN, room_share=1.0), "white", rooms).batch(2, 4)
    assert not torch.allclose(wet, dry, atol=1e-3)
    for part in range(2):  # convolution is circular
        moved = torch.roll(dry[:, part], delay, -1)
        scale = (moved * wet[:, part]).sum(-1, keepdim=True) / moved.square().sum(-1, keepdim=True)
        assert (wet[:, part] - scale * moved).abs().max() < 1e-3 * wet[:, part].abs().max()


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list:
    return load_clips(pair_songs(read_dataset(f"stems={stem_folder(tmp_path_factory.mktemp('stems'))}")), RATE)


def test_channels_are_swapped_of_both_parts_at_once(songs: list) -> None:
    as_they_are = SongMixer(songs, {}, PLAIN_SONGS, RATE, seed=3).batch(4, 4)
    swapped = SongMixer(songs, {}, replace(PLAIN_SONGS, swap_share=1.0), RATE, seed=3).batch(4, 4)
    assert not torch.equal(as_they_are, swapped)
    # An FFT of two channels may round the first otherwise than the second.
    torch.testing.assert_close(as_they_are.flip(2), swapped, rtol=0, atol=1e-6)


def test_a_song_gets_reflections_around_its_voice_and_none_around_its_music(songs: list) -> None:
    rooms = np.random.default_rng(0).standard_normal((4, 4000)).astype(np.float32) * 0.02
    dry = SongMixer(songs, {}, PLAIN_SONGS, RATE, seed=3, rooms=rooms)
    wet = SongMixer(songs, {}, replace(PLAIN_SONGS, room_share=1.0), RATE, seed=3, rooms=rooms)
    changed = [0, 0]
    for step in range(8):
        before, after = dry.batch(step, 1)[0], wet.batch(step, 1)[0]
        for part in range(2):
            power = before[part].square().sum()
            if power > 1e-3:
                scale = (before[part] * after[part]).sum() / power
                rest = (after[part] - scale * before[part]).square().sum() / (scale**2 * power)
                changed[part] += int(rest > 1e-4)
    assert changed[1] >= 2
    assert changed[0] == 0
