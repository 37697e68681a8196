"""Songs: pairing, decoding, copies, and the mixtures made of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.training.songs import PLAIN, music, stem_folder, voice
from tests.training.tiny import TINY
from training.data import song_clips
from training.data.augment import offline_augment
from training.data.augment.offline_augment import Copy, coded, stretched
from training.data.clip_store import ForbiddenRow, build_banks
from training.data.datasets import read_dataset
from training.data.manifest import Row, read_manifest
from training.data.song_clips import Clip, decode_stereo, load_clips, pair_songs
from training.data.song_mixer import RemixSpec, SongMixer

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg makes the copies")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read_dataset(f"stems={stem_folder(tmp_path_factory.mktemp('stems'))}")


@pytest.fixture(scope="module")
def clips(rows: list[Row]) -> list[Clip]:
    return load_clips(pair_songs(rows), 48000)


@pytest.fixture(scope="module")
def mixer(clips: list[Clip]) -> SongMixer:
    speech = build_banks([row for row in read_manifest(TINY) if row.kind == "speech" and row.split == "train"], {}, 1.0)
    rooms = np.random.default_rng(0).standard_normal((4, 4000)).astype(np.float32) * 0.01
    return SongMixer(clips, speech, RemixSpec(seconds=1.28), seed=3, rooms=rooms)


def test_parts_of_a_song_are_paired(rows: list[Row]) -> None:
    songs = pair_songs(rows)
    assert [song.name for song in songs] == ["a", "b", "c"]
    assert all(song.vocals and song.accompaniment for song in songs)
    (tiny,) = pair_songs(read_manifest(TINY))  # one part only
    assert tiny.name == "caesium" and tiny.vocals is None
    with pytest.raises(ValueError, match="twice"):
        pair_songs([rows[0], rows[0]])
    with pytest.raises(ValueError, match="different splits"):
        pair_songs([rows[0], replace(rows[1], split="valid" if rows[0].split == "train" else "train")])


def test_songs_of_the_test_split_are_never_opened(
    rows: list[Row], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither decoded nor taken from the cache, and the loader of `training.train` opens no other file."""
    forbidden = [replace(row, split="test") for row in rows]
    with pytest.raises(ForbiddenRow, match="test split"):
        decode_stereo(forbidden[0], 48000)
    load_clips(pair_songs(rows), 48000, cache=tmp_path)
    with pytest.raises(ForbiddenRow, match="test split"):
        load_clips(pair_songs(forbidden), 48000, cache=tmp_path)
    from training.data.rows import gather_rows
    from training.recipe import parse_recipe
    from training.tasks.songs import SongTask

    opened: list[Path] = []
    read = soundfile.read

    def spy(path: Path, *words: object, **more: object) -> object:
        opened.append(Path(path))
        return read(path, *words, **more)

    monkeypatch.setattr(song_clips.soundfile, "read", spy)
    from tests.training.songs import RECIPE

    recipe = replace(parse_recipe(RECIPE), rooms=0, copies=[])
    manifest = gather_rows(TINY, [], [])
    SongTask.build_mixer(recipe, manifest + rows, "train", None, 0, torch.device("cpu"))
    hidden = {row.path for row in read_manifest(TINY) if row.split == "test"}
    assert hidden and opened and not hidden & set(opened)


def test_decoding(tmp_path: Path) -> None:
    """Stereo stays stereo, mono is doubled; sums, differences, channels and rates."""
    rng = np.random.default_rng(0)
    one, two = rng.uniform(-0.3, 0.3, (2, 9000, 2)).astype(np.float32)
    for name, sound in (("one", one), ("two", two), ("both", one + two), ("mono", one[:, 0])):
        soundfile.write(tmp_path / f"{name}.wav", sound, 48000, subtype="FLOAT")
    row = Row(tmp_path / "one.wav", "vocals", "train", "c", "l", 0.2, 48000, 2, 24000)
    assert np.array_equal(decode_stereo(row, 48000), one.T)
    assert np.allclose(decode_stereo(replace(row, plus=(tmp_path / "two.wav",)), 48000), (one + two).T)
    less = replace(row, path=tmp_path / "both.wav", minus=tmp_path / "two.wav")
    assert np.allclose(decode_stereo(less, 48000), one.T, atol=1e-6)
    assert np.array_equal(decode_stereo(replace(row, take=(1,)), 48000), np.stack([one[:, 1]] * 2))
    assert np.array_equal(decode_stereo(replace(row, path=tmp_path / "mono.wav"), 48000), np.stack([one[:, 0]] * 2))
    assert decode_stereo(row, 16000).shape == (2, 3000)
    (tmp_path / "bad.wav").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"bad\.wav is damaged"):
        decode_stereo(replace(row, path=tmp_path / "bad.wav"), 48000)


def test_decoded_songs_are_mapped_from_the_cache(
    rows: list[Row], clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_clips(pair_songs(rows), 48000, cache=tmp_path)
    monkeypatch.setattr(song_clips, "decode_stereo", lambda *_: pytest.fail("decoded again"))
    again = load_clips(pair_songs(rows), 48000, cache=tmp_path)
    for first, second in zip(clips, again, strict=True):
        for part in first.parts:
            assert isinstance(second.parts[part].base, np.memmap)
            assert np.array_equal(first.parts[part], second.parts[part])


def test_voiced_seconds(clips: list[Clip]) -> None:
    for clip in clips:
        assert len(clip.voiced) and set(clip.voiced % 48000) == {0} and clip.voiced.max() < clip.length * 3 / 4
    assert len(song_clips.voiced_seconds(np.zeros((2, 96000), np.int16), 48000)) == 0


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["mp3", "opus"])
def test_coded_parts_sum_to_the_coded_mixture(codec: str) -> None:
    """The codec hears the mixture; parts stay where they were in time, and share its band limit and error."""
    size = min(48000 * 4, music().shape[1])
    parts = np.stack([music()[:, :size] * 0.5, voice(size) * 0.5])
    made = coded(parts, 48000, codec, 64)
    decoded = offline_augment._through(parts.sum(0), 48000, codec, 64)
    assert np.abs(made.sum(0) - decoded)[:, 4096:-4096].max() < 1e-4
    assert np.abs(made.sum(0) - parts.sum(0)).max() > 1e-3  # it is lossy
    middle = slice(9600, size - 9600)
    for before, after in zip(parts, made, strict=True):
        lags = [float((np.roll(after[0], lag)[middle] * before[0][middle]).sum()) for lag in range(-40, 41)]
        assert int(np.argmax(lags)) == 40
        assert np.square(after - before)[:, middle].mean() < 0.1 * np.square(before)[:, middle].mean()


@needs_ffmpeg
def test_stretched_parts_stay_together() -> None:
    size = 48000 * 2
    time = np.arange(size) / 48000
    tone = np.stack([np.sin(2 * np.pi * 440 * time)] * 2).astype(np.float32) * 0.3
    made = stretched(np.stack([tone, tone * 0.5]), 48000, 2.0, 1.1)
    assert made.shape[:2] == (2, 2) and abs(made.shape[2] * 1.1 / size - 1) < 0.02
    spectrum = np.abs(np.fft.rfft(made[0, 0, 12000:60000] * np.hanning(48000)))
    assert abs(int(spectrum.argmax()) - 440 * 2 ** (2 / 12)) < 12  # Rubber Band is a little off for bare sines
    assert np.abs(made[1] - 0.5 * made[0])[:, 12000:-12000].max() < 1e-3


def test_copies_are_of_songs_with_both_parts(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(song_clips, "varied", lambda sound, rate, copy: sound)
    songs = pair_songs(rows)
    alone = [replace(songs[0], name="tune", vocals=None), replace(songs[0], name="voice", accompaniment=None)]
    made = [clip.song.name for clip in load_clips([*songs, *alone], 48000, [Copy(codec="mp3", kbps=128)])]
    assert made == [name for song in songs for name in (song.name, song.name)] + ["tune", "voice"]


def test_copies_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"codec": "flac"}, {"semitones": 30}, {"tempo": 0}, {"codec": "mp3", "kbps": 5}):
        with pytest.raises(ValueError):
            Copy(**wrong)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="not installed"):
        coded(np.zeros((2, 2, 100), np.float32), 48000, "mp3", 128)


def test_batches_are_seeded_and_resumable(mixer: SongMixer) -> None:
    stream = mixer.batches(0, 4)
    batches = [next(stream) for _ in range(3)]
    assert batches[0].shape == (4, 2, 2, 61440) and batches[0].dtype == torch.float32
    assert torch.equal(batches[2], next(mixer.batches(2, 4)))
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(next(mixer.batches(0, 4, 0, 2)), next(mixer.batches(0, 4, 1, 2)))


def test_mixtures_keep_their_promises(mixer: SongMixer) -> None:
    batch = torch.cat([mixer.batch(step, 8) for step in range(12)])
    assert batch.isfinite().all() and batch.sum(1).abs().max() <= 0.9901
    power = batch.square().mean((2, 3))
    free, alone = power[:, 1] == 0, power[:, 0] == 0
    assert 3 <= free.sum() < 40 and 1 <= alone.sum() < 25 and not (free & alone).any()
    level = 10 * torch.log10(batch.sum(1).square().mean((1, 2)))
    loud = level[level > -60]  # vocals alone that are silent here stay silent
    assert loud.max() < -11.9 and loud.min() > -60 and loud.max() - loud.min() > 10
    same = (batch[:, :, 0] == batch[:, :, 1]).all(-1).all(-1)
    assert same.sum() < 20


@pytest.mark.parametrize("kind", ["song", "remix", "speech", "no_vocals", "vocals_only"])
def test_kinds(mixer: SongMixer, clips: list[Clip], kind: str) -> None:
    spec = replace(PLAIN, kinds={kind: 1.0}, ratio=(0.0, 0.0))
    batch = SongMixer(clips, mixer.speech, spec, seed=1).batch(0, 6)
    power = batch.square().mean((2, 3))
    assert ((power[:, 0] > 0) == (kind != "vocals_only")).all()
    assert ((power[:, 1] > 0).any()) == (kind != "no_vocals")
    # The tiny voices are in the middle, the tiny music is not.
    side = (batch[:, :, 0] - batch[:, :, 1]).abs().amax(-1)
    assert side[:, 1].max() < 1e-5
    assert (side[:, 0].max() > 1e-3) == (kind != "vocals_only")


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


@pytest.mark.parametrize("kind", ["song", "remix", "speech", "vocals_only"])
def test_formants_moved(mixer: SongMixer, clips: list[Clip], kind: str) -> None:
    """Of the voice only; the accompaniment is as without."""
    spec = replace(PLAIN, kinds={kind: 1.0}, ratio=(0.0, 0.0), level=(-12.0, -12.0))
    plain, other, never = (
        SongMixer(
            clips, mixer.speech, replace(spec, formant_shift=semitones, formant_shift_share=share), seed=1
        )._example(np.random.default_rng(4))
        for semitones, share in ((0.0, 1.0), (4.0, 1.0), (4.0, 0.0))
    )
    assert alike(plain[1], other[1]) < 0.998 and alike(plain[1], never[1]) > 0.9999
    if kind != "vocals_only":
        assert alike(plain[0], other[0]) > 0.9999


@pytest.mark.parametrize("kind", ["remix", "speech", "vocals_only"])
def test_doubled_vocals(mixer: SongMixer, clips: list[Clip], kind: str) -> None:
    """Voices of the middle are wide then; the accompaniment is as without."""
    spec = replace(PLAIN, kinds={kind: 1.0}, ratio=(0.0, 0.0), level=(-12.0, -12.0))
    plain, wide = (
        SongMixer(clips, mixer.speech, replace(spec, double_share=share), seed=1)._example(np.random.default_rng(4))
        for share in (0.0, 1.0)
    )
    middle, side = wide[1].sum(0), wide[1][0] - wide[1][1]
    assert side.square().sum() > 0.1 * middle.square().sum() > 0
    assert (plain[1][0] - plain[1][1]).abs().max() < 1e-5
    if kind != "vocals_only":
        assert alike(plain[0], wide[0]) > 0.9999


@pytest.mark.parametrize(("kind", "goes"), [("remix", True), ("speech", True), ("vocals_only", True), ("song", False)])
def test_effects_are_for_voices_that_are_in_no_song(mixer: SongMixer, clips: list[Clip], kind: str, goes: bool) -> None:
    spec = replace(PLAIN, kinds={kind: 1.0}, ratio=(0.0, 0.0), level=(-12.0, -12.0))
    plain, other = (
        [
            SongMixer(clips, mixer.speech, replace(spec, effects_share=share), seed=1)._example(
                np.random.default_rng(seed)
            )
            for seed in range(3)
        ]
        for share in (0.0, 1.0)
    )
    same = [alike(one[1], two[1]) > 0.999 for one, two in zip(plain, other, strict=True)]
    assert not all(same) if goes else all(same)
    if kind in ("remix", "speech"):
        assert all(alike(one[0], two[0]) > 0.9999 for one, two in zip(plain, other, strict=True))


def test_effects_on_music_below_other_music(clips: list[Clip]) -> None:
    spec = replace(PLAIN, kinds={"no_vocals": 1.0}, second_stem_share=1.0, level=(-12.0, -12.0))
    plain, other = (
        SongMixer(clips, {}, replace(spec, effects_share=share), seed=1)._example(np.random.default_rng(2))
        for share in (0.0, 1.0)
    )
    assert 0.3 < alike(plain[0], other[0]) < 0.9999 and not other[1].any()


@pytest.mark.parametrize(("of_voices", "moves"), [(None, False), (0.0, False), (4.0, True)])
def test_voices_have_a_speed_of_their_own(clips: list[Clip], of_voices: float | None, moves: bool) -> None:
    spec = replace(PLAIN, kinds={"remix": 1.0}, voice_semitones=of_voices)
    mixed = SongMixer(clips, {}, spec, seed=1)
    rng = np.random.default_rng(0)
    assert {mixed._speed(rng) for _ in range(4)} == {1.0}
    assert (len({mixed._speed(rng, voice=True) for _ in range(4)}) == 4) == moves


def test_a_song_as_it_is(clips: list[Clip]) -> None:
    """Without any variation a mixture is a passage of one song, scaled: both parts alike, from the same moment."""
    plain = SongMixer(clips, {}, replace(PLAIN, kinds={"song": 1.0}), seed=2)
    for example in plain.batch(0, 2):
        best = 0.0
        for clip in clips:
            for part, wave in zip(("accompaniment", "vocals"), example, strict=True):
                whole = torch.from_numpy(clip.parts[part][0].astype(np.float32))
                if not wave.abs().max():
                    continue
                padded = torch.nn.functional.pad(wave[0], (0, len(whole) - wave.shape[-1]))
                match = torch.fft.irfft(torch.fft.rfft(whole) * torch.fft.rfft(padded).conj(), len(whole))
                start = int(match[: len(whole) - wave.shape[-1] + 1].argmax())
                piece = whole[start : start + wave.shape[-1]]
                best = max(best, float(torch.nn.functional.cosine_similarity(piece, wave[0], dim=0)))
        assert best > 0.9999


def test_passages_are_the_songs(clips: list[Clip]) -> None:
    passages = SongMixer(clips, {}, PLAIN).passages(7)
    assert passages.shape == (7, 2, 2, 61440)
    wave = torch.from_numpy(clips[0].parts["vocals"].astype(np.float32)) / 32767
    first = passages[0, 1]
    starts = torch.nonzero((wave[:, : wave.shape[1] - 61440 + 1] == first[:, :1]).all(0)).flatten().tolist()
    assert any(torch.equal(wave[:, n : n + 61440], first) for n in starts)


def test_what_a_mixer_cannot_do_without(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match="accompaniments and vocals"):
        SongMixer([], {}, PLAIN)
    with pytest.raises(ValueError, match="kinds of song mixtures"):
        RemixSpec(kinds={"opera": 1.0})
    with pytest.raises(ValueError, match="above zero"):
        RemixSpec(kinds={"song": 0.0})


def test_band_limits_hit_both_parts(clips: list[Clip]) -> None:
    spec = replace(PLAIN, lowpass_share=1.0, kinds={"song": 1.0})
    narrow = SongMixer(clips, {}, spec, seed=4).batch(0, 6)
    power = torch.fft.rfft(narrow.sum(1)).abs().square().mean((0, 1))
    assert power[int(18600 * 1.28) :].sum() < 1e-5 * power.sum()


@pytest.mark.parametrize("part", ["vocals", "accompaniment"])
def test_what_lacks_treble_is_not_told_by_it(clips: list[Clip], part: str) -> None:
    """Vocals over another music: where the recording of either ends, so do both; a song as it is has its own band."""

    def ending(row: Row | None, bandwidth: int) -> Row | None:
        return row and replace(row, bandwidth=bandwidth)

    songs = [replace(clip.song, **{part: ending(getattr(clip.song, part), 8000)}) for clip in clips]
    narrow = [replace(clip, song=song) for clip, song in zip(clips, songs, strict=True)]
    spec = replace(PLAIN, kinds={"remix": 1.0}, ratio=(0.0, 0.0))

    def treble(those: list[Clip]) -> torch.Tensor:
        power = torch.fft.rfft(SongMixer(those, {}, spec, seed=4).batch(0, 6)).abs().square().mean((0, 2))
        return power[:, int(9500 * 1.28) :].sum(-1) / power.sum(-1)

    assert (treble(clips) > 1e-5).all() and (treble(narrow) < 0.01 * treble(clips)).all()
