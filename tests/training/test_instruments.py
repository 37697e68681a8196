"""The task of instruments on stems of known samples: what is mixed, and its scores by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.stems import LEVELS, instrument_folder
from tests.training.test_method_tasks import recipe, trained
from tests.training.test_method_tasks import task as task_of
from training.data.clip_store import ForbiddenRow
from training.data.manifest import Row, read_manifest
from training.tasks.instruments import InstrumentsTask

NAMES = InstrumentsTask.sources


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read_manifest(instrument_folder(tmp_path_factory.mktemp("stems")))


def task(rows: list[Row], *changes: str) -> InstrumentsTask:
    made = task_of(recipe("instrument-activity", *changes), rows)
    assert isinstance(made, InstrumentsTask)
    return made


def test_songs_as_they_are(rows: list[Row]) -> None:
    """All stems of one song at the same place; what the song lacks is exactly zero."""
    about = task(rows, "data.mix.song_share=1", "network.audio_channels=2")
    found = about.examples(3, 8)
    assert found.shape == (8, 6, 2, about.samples) and found.dtype == torch.float32
    heard = set()
    for example in found:
        there = tuple(name for name, each in zip(NAMES, example, strict=True) if each.any())
        (song,) = [name for name, levels in LEVELS.items() if tuple(levels) == there]
        heard.add(song)
        for name in there:
            left = LEVELS[song][name] * torch.ones(about.samples)
            assert torch.allclose(example[NAMES.index(name)], torch.stack([left, left / 2]), atol=1e-4)
    assert heard == {"one", "two"}  # the third is valid
    mono = task(rows, "data.mix.song_share=1").examples(3, 8)
    assert mono.shape == (8, 6, about.samples) and torch.allclose(mono, found.mean(2))
    assert torch.equal(about.examples(3, 8), found) and not torch.equal(about.examples(4, 8), found)


def test_mixed_anew(rows: list[Row]) -> None:
    """Gains of 0.25 to 1.25, channels swapped half of the time, stems of different songs, some missing."""
    about = task(rows, "data.mix.song_share=0", "data.mix.missing_share=0.3", "network.audio_channels=2")
    gains, swapped, missing, songs = [], [], [], set()
    for example in about.examples(0, 64):
        assert example.sum(0).abs().max() <= 0.99 + 1e-6
        own = set()
        for name, wave in zip(NAMES, example, strict=True):
            missing.append(not wave.any())
            if wave.any():
                left, right = wave.mean(1).tolist()
                swapped.append(left < right)
                assert max(left, right) == pytest.approx(2 * min(left, right), rel=1e-3)
                levels = {song: each[name] for song, each in LEVELS.items() if name in each and song != "three"}
                fits = {song: max(left, right) / level for song, level in levels.items()}
                if len(fits) == 1:
                    gains += fits.values()
                    own |= set(fits)
        songs.add(frozenset(own))
    assert 0.25 - 1e-3 <= min(gains) < 0.4 and 1.1 < max(gains) <= 1.25 + 1e-3
    assert 0.35 < np.mean(swapped) < 0.65 and 0.2 < np.mean(missing) < 0.4
    assert frozenset({"one", "two"}) in songs


def test_valid_passages_are_of_valid_songs(rows: list[Row]) -> None:
    about = task(rows)
    there = torch.cat(about.fixed).square().mean(-1) > 0
    assert [name for name, each in zip(NAMES, there.all(0), strict=True) if each] == list(LEVELS["three"])
    assert there.any(0).sum() == len(LEVELS["three"]) and len(there) == 48


def test_scores_by_hand(rows: list[Row]) -> None:
    """Bass half as loud as it is: 6.02 dB; drums as they came; strings silent, a tenth of the mixture is left."""
    draw = torch.Generator().manual_seed(0)
    true = {name: torch.zeros(1, 48000) for name in NAMES}
    for name in ("drums", "bass"):
        true[name] = torch.randn(1, 48000, generator=draw) * 0.1
    mixture = true["drums"] + true["bass"]
    made = dict.fromkeys(NAMES, torch.zeros(1, 48000)) | {"drums": mixture, "bass": true["bass"] / 2}
    made["strings"] = mixture / 10
    about = task(rows)
    found = about.scores({name: made[name] for name in ("drums", "bass", "strings")}, true)
    assert set(found) == {"sdri", "silent_level"}
    assert found["silent_level"].item() == pytest.approx(-20, abs=1e-3)
    gain = 10 * (true["drums"].square().mean() / (true["bass"] / 2).square().mean()).log10().item()
    assert found["sdri"].item() == pytest.approx(gain / 2, abs=1e-2) and gain == pytest.approx(6.02, abs=0.2)
    stereo = {name: torch.stack([each, each], 1) for name, each in true.items()}
    assert about.scores(stereo, stereo)["sdri"] > 60


def test_some_steps(rows: list[Row], tmp_path: Path) -> None:
    made = recipe("instrument-activity", "network.activity_median=5", "network.features=16")
    scores = trained(made, tmp_path / "run", rows)
    assert all(np.isfinite(value) for value in scores.values()) and {"sdri", "silent_level"} <= set(scores)


def test_what_it_refuses(rows: list[Row]) -> None:
    with pytest.raises(ValueError, match=r"no stem in the valid split: give --dataset manifest=OUT/manifest\.csv"):
        InstrumentsTask.check_rows([row for row in rows if row.split == "train"])
    with pytest.raises(ValueError, match="is no stem of drums, bass"):
        task([replace(rows[0], instrument="theremin"), *rows[1:]])
    with pytest.raises(ValueError, match="has the drums of the song one twice"):
        task([rows[0], *rows])
    with pytest.raises(ValueError, match=r"no song of stems in the train split, or all are under 5\.0 s"):
        task(rows, "data.mix.seconds=10")
    with pytest.raises(ForbiddenRow):
        InstrumentsTask.build_mixer(
            recipe("instrument-activity"), [replace(rows[0], split="test")], "test", None, 0, torch.device("cpu")
        )
