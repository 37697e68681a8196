"""Public datasets: each adapter on a tiny tree of the real layout."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from tests.training.program import call
from training import train
from training.data.clip_store import ForbiddenRow, bank_rate, decode
from training.data.datasets import DATASETS, read_dataset, thin
from training.data.manifest import Row
from training.data.rows import gather_rows
from training.data.song_clips import decode_stereo, pair_songs

TREES: dict[str, dict[str, int]] = {  # file below the root -> its rate in Hz
    "voicebank": {
        f"{state}_{part}_wav/{name}.wav": 48000
        for state in ("clean", "noisy")
        for part, name in (
            ("trainset_28spk", "p227_001"),
            ("trainset_28spk", "p228_014"),
            ("trainset_28spk", "p226_001"),
            ("testset", "p232_001"),
        )
    },
    "vctk": {
        f"wav48_silence_trimmed/{voice}/{voice}_001_{mic}.flac": 48000
        for voice in ("p225", "p226", "p232", "s5")
        for mic in ("mic1", "mic2")
    },
    "wham": {f"wham_noise/{part}/01aa010b_0.9_{n}.wav": 16000 for part in ("tr", "cv", "tt") for n in range(2)},
    "librimix": {
        f"Libri2Mix/wav16k/max/{part}/{source}/103-1240-0003_1235-135887.wav": 16000
        for part in ("train-100", "dev", "test")
        for source in ("mix_both", "mix_clean", "s1", "s2", "noise")
    },
    "dns": {
        "datasets_fullband/clean_fullband/read_speech/book_00000_chp_0009_reader_06709_0_seg_1.wav": 48000,
        "datasets_fullband/clean_fullband/german_speech/M-AILABS/angela_merkel_0.wav": 48000,
        "datasets_fullband/clean_fullband/vctk_wav48_silence_trimmed/p225/p225_001_mic1.wav": 48000,
        "datasets_fullband/clean_fullband/vctk_wav48_silence_trimmed/p232/p232_001_mic1.wav": 48000,
        "datasets_fullband/noise_fullband/--5hTz5Md_Y.wav": 48000,
        "datasets_fullband/noise_fullband/door_Freesound_validated_1.wav": 48000,
    },
    "musan": {
        "musan/speech/librivox/speech-librivox-0000.wav": 16000,
        "musan/speech/us-gov/speech-us-gov-0000.wav": 16000,
        "musan/noise/free-sound/noise-free-sound-0000.wav": 16000,
        "musan/noise/sound-bible/noise-sound-bible-0000.wav": 16000,
        "musan/music/fma/music-fma-0000.wav": 16000,
        "musan/music/fma/music-fma-0001.wav": 16000,
        "musan/music/fma/music-fma-0002.wav": 16000,
    },
}

STEREO = ("wham", "musdb18hq", "dsd100", "medleydb", "ikala", "ccmixter", "stems")
MUSDB = ("A - One", "ANiMAL - Rockshow", "B - Two")  # the second is one of its 14 validation songs
PARTS = ("vocals", "drums", "bass", "other")
SONGS = ("LizNelson_Rainfall", "Meaxic_TakeAStep", "Phoenix_Instrumental", "Zen_Bleed")
TREES |= {
    "musdb18hq": {f"train/{song}/{part}.wav": 44100 for song in MUSDB for part in (*PARTS, "mixture")}
    | {f"test/C - Three/{part}.wav": 44100 for part in (*PARTS, "mixture")},
    "dsd100": {f"DSD100/Sources/Dev/{n:03} - X - Y/{part}.wav": 44100 for n in (51, 52) for part in PARTS}
    | {f"DSD100/Sources/Test/001 - X - Z/{part}.wav": 44100 for part in PARTS}
    | {f"DSD100/Mixtures/Dev/{n:03} - X - Y/mixture.wav": 44100 for n in (51, 52)},
    "medleydb": {f"Audio/{song}/{song}_STEMS/{song}_STEM_{n:02}.wav": 44100 for song in SONGS for n in (1, 2, 3)}
    | {f"Audio/{song}/{song}_MIX.wav": 44100 for song in SONGS},
    "ikala": {f"iKala/Wavfile/{song}_{part}.wav": 44100 for song in (10161, 10164) for part in ("chorus", "verse")},
    "ccmixter": {
        f"ccmixter_corpus/{song}/{part}.wav": 44100
        for song in ("Admiral_Bob_-_Choice", "Bar_-_Foo")
        for part in ("mix", "source-01", "source-02")
    },
    "slakh": {
        f"slakh2100_flac_redux/{part}/Track{n:05}/{name}.flac": 44100
        for part, n in (("train", 1), ("train", 2), ("validation", 1501), ("test", 1876), ("omitted", 4))
        for name in ("mix", "stems/S00")
    },
    "stems": {
        "first/vocals.wav": 48000,
        "first/accompaniment.wav": 48000,
        "second/vocals.flac": 22050,
        "second/drums.flac": 22050,
        "second/bass.flac": 22050,
        "third/vocals.wav": 44100,
        "third/mixture.wav": 44100,
        "fourth/instrumental.wav": 44100,
    },
}

SPLITS = ("train", "valid", "test")
EXPECTED: dict[str, dict[tuple[str, str], int]] = {  # (kind, split) -> rows
    "voicebank": {(kind, split): 2 if split == "train" else 1 for kind in ("speech", "noise") for split in SPLITS},
    "vctk": {("speech", "train"): 2, ("speech", "valid"): 1, ("speech", "test"): 1},
    "wham": {("noise", "train"): 2, ("noise", "valid"): 2, ("noise", "test"): 2},
    "librimix": {(kind, split): n for kind, n in (("speech", 2), ("noise", 1)) for split in SPLITS},
    "dns": {("speech", "train"): 2, ("speech", "test"): 1, ("speech", "valid"): 1}
    | {("noise", "train"): 1, ("noise", "valid"): 1},
    "musan": {(kind, split): 1 for kind in ("speech", "noise", "instrumental") for split in ("train", "valid")},
}


def of_songs(train: int, valid: int, test: int = 0) -> dict[tuple[str, str], int]:
    counts = zip(SPLITS, (train, valid, test), strict=True)
    return {(kind, split): n for split, n in counts if n for kind in ("vocals", "accompaniment")}


EXPECTED |= {
    "musdb18hq": of_songs(2, 1, 1),
    "dsd100": of_songs(1, 1, 1),
    # One song is instrumental; one has vocals that bleed and is left out; its artist would have been the valid one.
    "medleydb": of_songs(2, 0) | {("accompaniment", "train"): 3},
    "ikala": of_songs(2, 2),
    "ccmixter": of_songs(1, 1),
    "slakh": {("instrumental", split): 1 for split in SPLITS},
    "stems": of_songs(2, 1) | {("accompaniment", "train"): 3},
}


def notes(name: str, root: Path) -> None:
    """The text files that an adapter reads."""
    if name == "musan":
        text = "music-fma-0000 jazz N Somebody\nmusic-fma-0001 pop,rock Y A band\nmusic-fma-0002 electronic N Nobody\n"
        (root / "musan/music/fma/ANNOTATIONS").write_text(text)
    if name == "medleydb":
        voices = {"LizNelson_Rainfall": "female singer", "Meaxic_TakeAStep": ["male singer", "clean electric guitar"]}
        for song in SONGS:
            instruments = [
                "acoustic guitar",
                voices.get(song, "vocalists" if song == "Zen_Bleed" else "piano"),
                "drum set",
            ]
            stems = {
                f"S{n:02}": {"filename": f"{song}_STEM_{n:02}.wav", "instrument": instrument, "component": ""}
                for n, instrument in enumerate(instruments, 1)
            }
            about = {"has_bleed": "yes" if song == "Zen_Bleed" else "no", "stems": stems}
            (root / f"Audio/{song}/{song}_METADATA.yaml").write_text(yaml.safe_dump(about))
    if name == "slakh":
        for track, program in ((1, 24), (2, 52)):  # the second has a choir in it
            about = {"stems": {"S00": {"is_drum": False, "program_num": program}}}
            file = root / f"slakh2100_flac_redux/train/Track{track:05}/metadata.yaml"
            file.write_text(yaml.safe_dump(about))


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name and root of a dataset whose files hold 0.6 s of noise."""
    rng = np.random.default_rng(0)
    for index, (name, rate) in enumerate(TREES[request.param].items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = 2 if request.param in STEREO else 1
        soundfile.write(path, rng.uniform(-0.1, 0.1, (int(rate * 0.6) + index, channels)), rate)
        (path.parent / f"._{path.name}").write_bytes(b"what some archives leave behind")
    notes(request.param, tmp_path)
    return request.param, tmp_path


def test_rows_of_every_dataset(tree: tuple[str, Path]) -> None:
    name, root = tree
    rows = DATASETS[name](root)
    assert Counter((row.kind, row.split) for row in rows) == EXPECTED[name]
    assert len({(row.path, row.kind) for row in rows}) == len(rows)
    for row in rows:
        if row.split == "test":  # named, never opened
            assert (row.sample_rate, row.seconds) == (0, 0.0)
            continue
        rate = TREES[name][str(row.path.relative_to(root))]
        assert (row.sample_rate, row.bandwidth) == (rate, rate // 2) and row.seconds == pytest.approx(0.6, abs=0.01)
        assert row.licence and row.corpus
        if row.split == "test":
            with pytest.raises(ForbiddenRow):
                decode(row)
        else:
            assert abs(len(decode(row)) - 0.6 * bank_rate(rate)) < 100
        if row.song or row.kind == "instrumental":
            assert decode_stereo(row, 48000).shape[0] == 2
    assert not any(row.split == "test" for row in gather_rows(None, [], [], [f"{name}={root}"]))
    for song in pair_songs(rows):  # parts belong together, and are as long as each other
        seconds = [row.seconds for row in song.rows]
        assert max(seconds) - min(seconds) < 0.01


def test_what_is_missing_is_named(tree: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    name, root = tree
    what = r"give a folder with one folder a song" if name == "stems" else r"(download|fetch|make it|ask).*http"
    with pytest.raises(FileNotFoundError, match=what) as nothing:
        DATASETS[name](tmp_path_factory.mktemp("empty"))
    assert "\n" not in str(nothing.value)
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"expected sound files.*({what}|http)"):
        DATASETS[name](root)


def test_noise_of_voicebank_is_the_difference(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean, noise = rng.uniform(-0.3, 0.3, (2, 24000)).astype(np.float32)
    for state, wave in (("clean", clean), ("noisy", clean + noise)):
        folder = tmp_path / f"{state}_trainset_28spk_wav"
        folder.mkdir()
        soundfile.write(folder / "p227_001.wav", wave, 48000, subtype="FLOAT")
    speech, difference = DATASETS["voicebank"](tmp_path)
    assert np.abs(decode(speech) / 32767 - clean).max() < 1e-4
    assert np.abs(decode(difference) / 32767 - noise).max() < 1e-4
    (tmp_path / "clean_trainset_28spk_wav/p227_001.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"clean partner of p227_001\.wav"):
        DATASETS["voicebank"](tmp_path)


LOST = {
    "musdb18hq": "train/B - Two/bass.wav",
    "dsd100": "DSD100/Sources/Dev/052 - X - Y/other.wav",
    "medleydb": "Audio/LizNelson_Rainfall/LizNelson_Rainfall_STEMS/LizNelson_Rainfall_STEM_02.wav",
    "ccmixter": "ccmixter_corpus/Bar_-_Foo/source-01.wav",
}


@pytest.mark.parametrize("tree", LOST, indirect=True)
def test_a_missing_source_of_a_song_is_named(tree: tuple[str, Path]) -> None:
    name, root = tree
    (root / LOST[name]).unlink()
    with pytest.raises(FileNotFoundError, match=Path(LOST[name]).stem):
        DATASETS[name](root)


def test_parts_of_songs_lie_where_they_belong(tmp_path: Path) -> None:
    """Sums, differences and channels: what is decoded is what was written."""
    rng = np.random.default_rng(0)
    one, two, three = rng.uniform(-0.2, 0.2, (3, 9600, 2)).astype(np.float32)

    def put(name: str, sound: np.ndarray) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, 48000, subtype="FLOAT")

    for part, sound in (("vocals", one), ("drums", two), ("bass", three), ("other", two), ("mixture", one)):
        put(f"hq/train/A/{part}.wav", sound)
    for part, sound in (("vocals", one), ("mixture", one + two)):
        put(f"stems/A/{part}.wav", sound)
    put("ikala/Wavfile/1_verse.wav", np.stack([two[:, 0], one[:, 0]], 1))
    doubled = [np.stack([sound[:, 0]] * 2) for sound in (two, one)]
    for name, folder, expected in (
        ("musdb18hq", "hq", (two.T * 2 + three.T, one.T)),
        ("stems", "stems", (two.T, one.T)),
        ("ikala", "ikala", doubled),
    ):
        found = DATASETS[name](tmp_path / folder)
        assert [row.kind for row in found] == ["accompaniment", "vocals"]
        for row, sound in zip(found, expected, strict=True):
            assert np.abs(decode_stereo(row, 48000) - sound).max() < 1e-6
            assert np.abs(decode(row) / 32767 - sound.mean(0)).max() < 1e-4  # as noise: mono


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg writes and reads stem files")
def test_musdb18_stem_files(tmp_path: Path) -> None:
    """MUSDB18 as it is distributed: five AAC streams in one MP4, read by musdb and stempeg."""
    import stempeg

    time = np.arange(44100) / 44100
    tones = [np.stack([0.1 * np.sin(2 * np.pi * hertz * time)] * 2, 1) for hertz in (300, 500, 700, 1100)]
    streams = np.stack([sum(tones), *tones])
    for split, song in (("train", "A - One"), ("train", "ANiMAL - Rockshow"), ("test", "C - Three")):
        (tmp_path / split).mkdir(exist_ok=True)
        file = tmp_path / split / f"{song}.stem.mp4"
        stempeg.write_stems(str(file), streams, sample_rate=44100, writer=stempeg.StreamsWriter(codec="aac"))
    rows = DATASETS["musdb18"](tmp_path)
    assert Counter((row.kind, row.split) for row in rows) == of_songs(1, 1, 1)
    assert [song.name for song in pair_songs(rows)] == ["A - One", "ANiMAL - Rockshow", "C - Three"]
    for row, expected in zip(rows[:2], ({300, 500, 700}, {1100}), strict=True):
        assert row.seconds == pytest.approx(1.0, abs=0.1)
        power = np.abs(np.fft.rfft(decode_stereo(row, 48000)[0][:48000])) ** 2
        assert set((np.flatnonzero(power > power.max() / 20) // 100 * 100).tolist()) <= expected | {1000}
        assert abs(power[1100] - power.max()) < 1e-3 * power.max() or 1100 not in expected


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "wav48" / "p225"
    folder.mkdir(parents=True)
    (folder / "p225_001.wav").write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"p225_001\.wav is damaged"):
        DATASETS["vctk"](tmp_path)


def test_thin_keeps_hours_spread_evenly() -> None:
    rows = [Row(Path(f"{n}.wav"), "speech", "train", "c", "l", 36.0, 16000, 1, 8000) for n in range(1000)]
    rows += [Row(Path("n.wav"), "noise", "train", "c", "l", 36.0, 16000, 1, 8000)]
    kept = thin(rows, 2.0)
    speech = [int(row.path.stem) for row in kept if row.kind == "speech"]
    assert len(speech) == 200 and set(np.diff(speech)) == {5}
    assert len(kept) == 201 and thin(rows, 100.0) == rows


def test_the_command_names_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"NAME=PATH.*voicebank"):
        read_dataset("timit=/somewhere")
    recipe = Path(__file__).parents[2] / "training/recipes/denoise.yaml"
    done = call(train.main, recipe, "--run", tmp_path, "--dataset", f"musan={tmp_path}")
    assert done.returncode == 2 and "musan.tar.gz" in done.stderr
