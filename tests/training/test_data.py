"""The data path: splits, banks, mixtures."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import TINY
from training.data import clip_store
from training.data.bank_files import LOCK
from training.data.clip_store import Bank, ForbiddenRow, bank_rate, build_banks, decode
from training.data.manifest import Row, held_out_patterns, read_manifest, scan_folder
from training.data.rooms import simulate_rooms
from training.data.rows import gather_rows
from training.data.speech_mixer import Mixer, MixSpec, active_power, fast_size
from training.data.synthetic_noise import FAMILIES, generated
from training.tasks.speech import SpeechTask


def manifests() -> list[Path]:
    """The tiny manifest, and the real one where RTSEP_DATA names it."""
    real = os.environ.get("RTSEP_DATA")
    return [TINY, Path(real)] if real else [TINY]


@pytest.mark.parametrize("manifest", manifests(), ids=lambda path: path.parent.name)
def test_training_never_opens_a_test_row(manifest: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run the very loader of `training.train`, count what it opens."""
    from training.recipe import parse_recipe

    opened: list[Path] = []

    def spy(path: Path, *_: object, **__: object) -> tuple[np.ndarray, int]:
        opened.append(Path(path))
        return np.zeros((48000, 1), np.float32), 48000  # which file is asked for is what matters here

    monkeypatch.setattr(clip_store.soundfile, "read", spy)
    recipe = parse_recipe((Path(__file__).parents[2] / "training/recipes/denoise.yaml").read_text(encoding="utf-8"))
    recipe = recipe.__class__(**{**recipe.__dict__, "rooms": 0})
    rows = gather_rows(manifest, [], [])
    for split in ("train", "valid"):
        SpeechTask.build_mixer(recipe, rows, split, None, 0, torch.device("cpu"))
    forbidden = {row.path for row in read_manifest(manifest) if row.split == "test"}
    assert forbidden and opened
    assert not forbidden & set(opened)


def test_decoding_a_test_row_is_an_error(rows: list[Row]) -> None:
    row = next(row for row in rows if row.split == "test")
    with pytest.raises(ForbiddenRow, match="test split"):
        decode(row)


def test_held_out_rows_are_valid_and_not_trained_on() -> None:
    patterns = held_out_patterns()
    assert any("esc10" in pattern for pattern in patterns) and any("speech48" in pattern for pattern in patterns)
    untouched = {row.path: row.split for row in read_manifest(TINY, held_out=[])}
    moved = [row for row in read_manifest(TINY) if untouched[row.path] == "train" and row.split == "valid"]
    assert [row.path.name for row in moved] == ["esc-3-150979-A.opus"]
    for row in read_manifest(TINY):
        if any(fnmatch(str(row.path.relative_to(TINY.parent)), pattern) for pattern in patterns):
            assert row.split == "valid"


@pytest.mark.parametrize("above", [str(TINY.parent), "../tiny", "."])
def test_what_is_held_out_stays_so_in_a_manifest_elsewhere(above: str, tmp_path: Path) -> None:
    """Such as one that joins several, with absolute paths."""
    header, *lines = TINY.read_text(encoding="utf-8").splitlines()
    elsewhere = tmp_path / "m.csv"
    elsewhere.write_text("\n".join([header, *(f"{above}/{line}" for line in lines)]), encoding="utf-8")
    assert [row.split for row in read_manifest(elsewhere)] == [row.split for row in read_manifest(TINY)]


def test_a_manifest_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,kind\na.wav,speech\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no column"):
        read_manifest(tmp_path / "m.csv")


def test_plain_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No audio file"):
        scan_folder(tmp_path, "speech")
    for index in range(4):
        soundfile.write(tmp_path / f"{index}.wav", np.full(22050, 0.1 * (index + 1)), 22050)
    rows = scan_folder(tmp_path, "speech")
    assert [row.split for row in rows] == ["train"] * 3 + ["valid"]
    clip = decode(rows[0])
    assert len(clip) == 48000  # 22.05 kHz does not fit into 16 kHz
    assert np.abs(clip[4800:-4800] / 32767 - 0.1).max() < 1e-3


def test_bank_rate() -> None:
    assert [bank_rate(rate) for rate in (8000, 16000, 22050, 44100, 48000, 96000)] == [16000, 16000] + [48000] * 4


def test_cut_returns_the_recording(rows: list[Row]) -> None:
    """A segment of a long clip is a run of its samples; a short clip is padded (speech) or repeated (noise)."""
    clip = np.arange(1, 1001, dtype=np.int16)
    bank = Bank(16000, np.concatenate([clip, clip[:10]]), [1000, 10], rows[:2], [1, 1])
    rng = np.random.default_rng(0)
    for _ in range(20):
        segment = (bank.cut(np.array([0]), 100, rng, wrap=False)[0] * 32767).round().int()
        assert torch.equal(segment.diff(), torch.ones(99, dtype=torch.int32))
        padded = (bank.cut(np.array([1]), 100, rng, wrap=False)[0] * 32767).round().int()
        assert sorted(padded[padded > 0].tolist()) == list(range(1, 11)) and (padded == 0).sum() == 90
        wrapped = (bank.cut(np.array([1]), 100, rng, wrap=True)[0] * 32767).round().int()
        assert sorted(wrapped.tolist()) == sorted(list(range(1, 11)) * 10)


def test_decoded_recordings_are_cached(rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = [row for row in rows if row.kind == "speech" and row.split == "train"]
    first = build_banks(speech, {}, 1.0, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(clip_store, "decode", lambda row: pytest.fail("decoded again"))
        again = build_banks(speech, {}, 1.0, tmp_path)
    assert first.keys() == again.keys() == {16000, 48000}
    in_memory = build_banks(speech, {}, 1.0)
    for rate in first:
        assert torch.equal(first[rate].samples, again[rate].samples)
        assert torch.equal(first[rate].samples, in_memory[rate].samples)
        assert np.array_equal(first[rate].length, in_memory[rate].length)
        parts = [first[rate].samples[start:][:length] for start, length in zip(*places(first[rate]), strict=True)]
        for row, part in zip(first[rate].rows, parts, strict=True):
            assert np.array_equal(part.numpy(), decode(row))


def places(bank: Bank) -> tuple[list[int], list[int]]:
    return bank.start.tolist(), bank.length.tolist()


def test_a_cached_bank_is_mapped_and_not_read(tmp_path: Path) -> None:
    """What is on disk is what is heard: nothing was copied into memory when the bank was opened."""
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.1), 16000)
    rows = scan_folder(tmp_path, "speech")
    (bank,) = build_banks(rows, {}, 1.0, tmp_path / "cache").values()
    (file,) = (tmp_path / "cache").glob("*.int16")
    with open(file, "r+b") as handle:
        handle.seek(2 * 8000)
        handle.write(np.full(100, 1234, "<i2").tobytes())
    assert (bank.samples[8000:8100] == 1234).all()
    heard = bank.cut(np.array([0]), 16000, np.random.default_rng(0), wrap=False)[0]
    assert heard[8050].item() == pytest.approx(1234 / 32767)


def test_a_bank_that_was_not_finished_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", np.full(16000, 0.1), 16000)
    rows, true = scan_folder(tmp_path, "speech"), clip_store.decode

    def broken(row: Row) -> np.ndarray:
        if row.path.stem == "1":
            raise OSError("the disk is gone")
        return true(row)

    monkeypatch.setattr(clip_store, "decode", broken)
    with pytest.raises(OSError, match="disk is gone"):
        build_banks(rows, {}, 1.0, tmp_path / "cache")
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [LOCK]
    monkeypatch.setattr(clip_store, "decode", true)
    (bank,) = build_banks(rows, {}, 1.0, tmp_path / "cache").values()
    assert bank.length.tolist() == [16000] * 3


def test_clips_too_short_are_left_out_of_a_bank(tmp_path: Path) -> None:
    for index, samples in enumerate((16000, 4000, 12000)):
        soundfile.write(tmp_path / f"{index}.wav", np.full(samples, 0.1 * (index + 1)), 16000)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        (bank,) = build_banks(scan_folder(tmp_path, "speech"), {}, 1.0, cache).values()
        assert bank.length.tolist() == [16000, 12000] and [row.path.stem for row in bank.rows] == ["0", "2"]
        last = bank.cut(np.array([1]), 12000, np.random.default_rng(0), wrap=False)
        assert last[0, 6000].item() == pytest.approx(0.3, abs=1e-3)


def test_batches_are_seeded_and_resumable(mixer: Mixer) -> None:
    stream = mixer.batches(0, 4)
    batches = [next(stream) for _ in range(3)]
    assert torch.equal(batches[2], next(mixer.batches(2, 4)))
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(next(mixer.batches(0, 4, 0, 2)), next(mixer.batches(0, 4, 1, 2)))


def test_mixtures_keep_their_promises(mixer: Mixer) -> None:
    """Levels, SNR, silence and peaks lie where the spec says, measured on the result."""
    batch = torch.cat([mixer.batch(step, 8) for step in range(30)])
    assert batch.dtype == torch.float32 and batch.isfinite().all()
    assert batch.sum(1).abs().max() <= 0.9901
    speech, noise = active_power(batch[:, 0], 48000), active_power(batch[:, 1], 48000)
    both = (speech > 0) & (noise > 0)
    snr = 10 * torch.log10(speech[both] / noise[both])
    assert snr.min() > -5.1 and snr.max() < 20.1 and snr.max() - snr.min() > 20
    # A peak limit may lower a level, never raise it.
    assert 10 * torch.log10(speech[both]).max() < -11.9
    assert 0 < (speech == 0).sum() < 40 and 0 < (noise == 0).sum() < 40


def test_narrow_speech_has_equally_narrow_noise(mixer: Mixer) -> None:
    """The network must not learn that speech has no treble: 16 kHz speech comes with noise that ends where it ends."""
    spec = MixSpec(seconds=1.28, wide_share=0.0, noise_kinds={"synthetic": 1.0})
    narrow = Mixer(mixer.speech, mixer.noise, {}, spec, seed=1)
    spectrum = torch.fft.rfft(narrow.batch(0, 16)[:, 1]).abs().square()
    treble = spectrum[:, narrow.hertz > 10000].sum(-1) / spectrum.sum(-1)
    assert treble.max() < 1e-4


def test_synthetic_noise() -> None:
    rng = np.random.default_rng(0)
    for family in FAMILIES:
        sound = family(rng, 2, 24000, 48000)
        assert sound.shape == (2, 24000) and sound.isfinite().all()
        assert torch.allclose(sound.square().mean(-1).sqrt(), torch.ones(2), atol=1e-3)
    assert generated("synthetic", rng, 0, 10, 48000).shape == (0, 10)


def test_rooms(tmp_path: Path) -> None:
    rooms = simulate_rooms(3, 48000, 8192, 1, tmp_path)
    assert rooms.shape == (3, 8192) and rooms.dtype == np.float32
    assert np.allclose(rooms[:, 0], 1)
    assert (np.square(rooms[:, 1:]).sum(1) > 0.01).all()  # there is an echo
    assert (np.square(rooms[:, :4096]).sum(1) > 5 * np.square(rooms[:, 4096:]).sum(1)).all()  # which decays
    assert np.array_equal(rooms, simulate_rooms(3, 48000, 8192, 1, tmp_path))
    assert np.array_equal(rooms, simulate_rooms(3, 48000, 8192, 1, None))


def test_pairs_are_fixed_and_from_the_valid_split(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from training.data.tools import pairs

    app = pairs.typer.Typer()
    app.command()(pairs.main)
    recipe = Path(__file__).parents[2] / "training/recipes/denoise.yaml"
    for name in ("a", "b"):
        words = [str(recipe), str(tmp_path / name), "--data", str(TINY), "--count", "3", "--seconds", "2"]
        assert CliRunner().invoke(app, words).exit_code == 0
    names = sorted(path.name for path in (tmp_path / "a" / "noisy").iterdir())
    assert names == ["000_valid_mix_snr-5.flac", "001_valid_mix_snr0.flac", "002_valid_mix_snr5.flac"]
    for name, snr in zip(names, (-5, 0, 5), strict=True):
        for part in ("clean", "noisy"):
            assert (tmp_path / "a" / part / name).read_bytes() == (tmp_path / "b" / part / name).read_bytes()
        clean, noisy = (
            torch.from_numpy(soundfile.read(tmp_path / "a" / part / name)[0])[None] for part in ("clean", "noisy")
        )
        ratio = active_power(clean, 48000) / active_power(noisy - clean, 48000)
        assert 10 * torch.log10(ratio).item() == pytest.approx(snr, abs=0.1)
    assert CliRunner().invoke(app, [str(recipe), str(tmp_path / "a"), "--data", str(TINY)]).exit_code == 2
    folders = ["--speech", str(TINY.parent / "speech16"), "--noise", str(TINY.parent / "noise")]
    words = [str(recipe), str(tmp_path / "c"), *folders, "--count", "1", "--seconds", "1"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (tmp_path / "c/noisy/000_valid_mix_snr-5.flac").exists()


def test_a_folder_does_not_bring_test_rows_back() -> None:
    hidden = {row.path.resolve() for row in read_manifest(TINY) if row.split == "test"}
    gathered = gather_rows(TINY, [TINY.parent / "speech16"], [TINY.parent / "noise"])
    assert hidden and not hidden & {row.path.resolve() for row in gathered}


def test_a_test_row_is_not_even_opened(tmp_path: Path) -> None:
    from training.data.manifest import recording

    assert recording(tmp_path / "not-there.wav", "speech", "test", "corpus", "?").split == "test"


def test_clips_too_short_to_use_leave_no_empty_bank(tmp_path: Path) -> None:
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", np.zeros(4000), 48000)
    assert build_banks(scan_folder(tmp_path, "noise"), {}, 1.0) == {}


def test_a_recording_made_anew_is_decoded_anew(tmp_path: Path) -> None:
    for level in (0.1, 0.2):
        soundfile.write(tmp_path / "a.wav", np.full(16000, level), 16000)
        (bank,) = build_banks(scan_folder(tmp_path, "speech"), {}, 1.0, tmp_path / "cache").values()
        assert bank.samples[8000].item() / 32767 == pytest.approx(level, abs=1e-3)


def test_noise_of_every_rate_is_used(mixer: Mixer, rows: list[Row]) -> None:
    """Narrow speech meets narrow noise too; wide speech only wide noise."""
    narrow = Bank(16000, np.full(64000, 3000, np.int16), [64000], rows[:1], [1])
    both = Mixer(mixer.speech, {16000: narrow, **mixer.noise}, {}, MixSpec(seconds=1.28), seed=1)
    spectrum = both._noise_of("recorded", np.random.default_rng(0), np.array([True] * 20 + [False] * 40))
    constant = spectrum[:, 0].abs() > 0.9 * spectrum.abs().sum(-1)  # the narrow bank holds nothing but a constant
    assert not constant[:20].any() and 0 < constant[20:].sum() < 40


@given(st.floats(10_000, 1_000_000))
def test_pieces_have_sizes_that_an_fft_is_quick_with(samples: float) -> None:
    size = rest = fast_size(samples)
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1 and size % 16 == 0
    assert abs(size / samples - 1) < 0.04
