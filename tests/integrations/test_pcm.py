"""Frames of 16-bit samples: as many out as in, later by what is stated, and the same as a stream makes of floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rtsep
from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from rtsep.errors import InputError
from rtsep.integrations.pcm import PcmCleaner, shared_model
from tests.recordings import noisy

RATES = (16000, 24000, 48000)


def pcm(rate: int, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    return np.rint(noisy(rate, channels, seconds) * 32767).astype("<i2")


def through(cleaner: PcmCleaner, sound: np.ndarray, frame: int) -> np.ndarray:
    pieces = [cleaner.process(sound[at : at + frame].tobytes()) for at in range(0, len(sound), frame)]
    return np.frombuffer(b"".join(pieces), "<i2").reshape(sound.shape)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_of_ten_milliseconds(rate: int, channels: int) -> None:
    """What a stream makes of the same sound; with strength 0 the input itself, to the bit, after the stated delay."""
    sound = pcm(rate, channels=channels)
    cleaner = PcmCleaner(rate, channels)
    stream = rtsep.load("denoise").stream(rate, channels, ASR_STRENGTH_DB)
    expected = np.clip(np.rint(stream.process(sound.astype(np.float32) / 32768) * 32768), -32768, 32767)
    assert np.array_equal(through(cleaner, sound, rate // 100), expected.astype(np.int16).reshape(sound.shape))
    untouched = PcmCleaner(rate, channels, strength=0.0)
    delay = round(untouched.delay_ms * rate / 1000)
    assert untouched.delay_ms == cleaner.delay_ms < 11.0
    out = through(untouched, sound, rate // 100)
    assert np.array_equal(out[delay:], sound[:-delay]) and not out[:delay].any()


def test_the_documents_state_the_delay() -> None:
    page = (Path(__file__).parents[2] / "docs" / "voice-agents.md").read_text("utf-8")
    for rate in RATES:
        assert f"{PcmCleaner(rate).delay_ms:.1f} ms at {rate // 1000} kHz" in page


def test_frames_may_have_any_length_and_full_scale_stays_there() -> None:
    sound = pcm(48000)
    sound[20000:30000] = 32767
    sound[30000:34000] = -32768
    whole, pieces = (through(PcmCleaner(48000, strength=0.0), sound, size) for size in (48000, 77))
    assert np.array_equal(whole, pieces) and whole.max() == 32767 and whole.min() == -32768


def test_sessions_share_the_weights_and_nothing_else() -> None:
    """Three at once, frame by frame in turn, each as if it were alone."""
    sounds = [pcm(16000, 0.5), pcm(16000, 0.5)[::-1].copy(), pcm(16000, 0.5) // 3]
    alone = [through(PcmCleaner(16000), sound, 160) for sound in sounds]
    cleaners = [PcmCleaner(16000) for _ in sounds]
    together: list[list[bytes]] = [[], [], []]
    for at in range(0, 8000, 160):
        for cleaner, sound, pieces in zip(cleaners, sounds, together, strict=True):
            pieces.append(cleaner.process(sound[at : at + 160].tobytes()))
    for pieces, expected in zip(together, alone, strict=True):
        assert b"".join(pieces) == expected.tobytes()
    assert shared_model("denoise") is shared_model("denoise")


def test_reset_forgets() -> None:
    sound, cleaner = pcm(16000, 0.3), PcmCleaner(16000)
    first = through(cleaner, sound, 160)
    cleaner.reset()
    assert np.array_equal(through(cleaner, sound, 160), first)


def test_what_cannot_be_is_one_sentence() -> None:
    for make in (lambda: PcmCleaner(4000), lambda: PcmCleaner(16000, model="karaoke"), lambda: PcmCleaner(16000, 0)):
        with pytest.raises(InputError):
            make()
    with pytest.raises(InputError, match="whole 16-bit samples"):
        PcmCleaner(16000).process(b"123")
