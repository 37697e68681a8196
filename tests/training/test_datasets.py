"""Public datasets: each adapter on a tiny tree of the real layout."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.data.bank import ForbiddenRow, decode
from training.data.datasets import DATASETS, read_dataset, thin
from training.data.manifest import Row
from training.train import gather_rows

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


@pytest.fixture(params=TREES)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name and root of a dataset whose files hold 0.6 s of noise."""
    rng = np.random.default_rng(0)
    for index, (name, rate) in enumerate(TREES[request.param].items()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = 2 if request.param == "wham" else 1
        soundfile.write(path, rng.uniform(-0.1, 0.1, (int(rate * 0.6) + index, channels)), rate)
        (path.parent / f"._{path.name}").write_bytes(b"what some archives leave behind")
    if request.param == "musan":
        notes = "music-fma-0000 jazz N Somebody\nmusic-fma-0001 pop,rock Y A band\nmusic-fma-0002 electronic N Nobody\n"
        (tmp_path / "musan/music/fma/ANNOTATIONS").write_text(notes)
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
            assert abs(len(decode(row)) - 0.6 * rate) < 100
    assert not any(row.split == "test" for row in gather_rows(None, [], [], [f"{name}={root}"]))


def test_what_is_missing_is_named(tree: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    name, root = tree
    with pytest.raises(FileNotFoundError, match=r"(download|fetch|make it).*http") as nothing:
        DATASETS[name](tmp_path_factory.mktemp("empty"))
    assert "\n" not in str(nothing.value)
    for path in root.rglob("*.*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"expected sound files.*http"):
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
    words = [sys.executable, "-m", "training.train", recipe, "--run", tmp_path, "--dataset", f"musan={tmp_path}"]
    done = subprocess.run(words, cwd=recipe.parents[2], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "musan.tar.gz" in done.stderr and "Traceback" not in done.stderr
