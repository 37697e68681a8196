"""Songs to files with less voice in them: levels, solo, key, names, tags, and one sentence for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import rtsep
from rtsep.cli import app
from rtsep.cli.karaoke import chosen_model
from rtsep.engine.enhance import enhance
from rtsep.errors import InputError
from rtsep.karaoke.pitch_shift import Shifter
from rtsep.karaoke.song_parts import Karaoke, Separator, karaoke_model, vocals_gain
from tests.graphs import Network
from tests.recordings import noisy


@pytest.fixture(scope="module", params=[0, 6400], ids=["causal", "ahead"])
def model(request, tmp_path_factory) -> str:
    """Stereo at 48 kHz, random weights: accompaniment and vocals are both something."""
    sizes = {"hop": 128, "analysis_window": 512 + request.param, "synthesis_window": 256, "channels": 2}
    network = Network(**sizes, lookahead=request.param, sources=("accompaniment", "vocals"))
    return str(network.save(tmp_path_factory.mktemp("karaoke") / "stereo.onnx"))


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> str:
    """All of the song is accompaniment."""
    sizes = {"hop": 128, "analysis_window": 512, "synthesis_window": 256, "channels": 2, "identity": True}
    network = Network(**sizes, sources=("accompaniment", "vocals"))
    return str(network.save(tmp_path_factory.mktemp("karaoke") / "identity.onnx"))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object):
    return CliRunner().invoke(app, ["karaoke", *map(str, arguments)])


def song(rate: int = 48000, seconds: float = 2.0) -> np.ndarray:
    return noisy(rate, 2, seconds)


def refused(result, *words: str) -> None:
    """One sentence, exit code 2."""
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("rtsep: ") and "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The parts


def _parts(model: rtsep.Model, sound: np.ndarray, rate: int, cuts: list[int], key: int = 0) -> list[np.ndarray]:
    separator = Separator(model, rate, sound.shape[1], key)
    pieces = [separator.process(piece) for piece in np.split(sound, cuts)]
    pieces.append(separator.flush())
    return [np.concatenate(part) for part in zip(*pieces, strict=True)]


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=12), st.sampled_from([48000, 44100, 8000]), st.integers(1, 2)
)
def test_any_pieces_give_the_same_parts_and_they_sum_to_the_song(model, sizes, rate, channels) -> None:
    sound = noisy(rate, channels, 1.0)
    loaded = rtsep.load(model)
    whole, cut = _parts(loaded, sound, rate, []), _parts(loaded, sound, rate, list(np.cumsum(sizes)))
    for one, other in zip(whole, cut, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(whole[0], sound)
    assert np.array_equal(whole[1], enhance(sound, rate, loaded))
    assert np.array_equal(whole[2], sound - whole[1])


def test_a_separator_that_was_reset_is_as_new(model) -> None:
    sound, loaded = song(), rtsep.load(model)
    separator = Separator(loaded, 48000, 2, key=2)
    first = separator.process(sound[:30000])
    separator.reset()
    for one, other in zip(first, separator.process(sound[:30000]), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("key", [-6, 3])
def test_the_key_moves_the_parts_and_not_the_song(identity, key) -> None:
    time = np.arange(48000) / 48000
    tone = np.stack([np.sin(2 * np.pi * 440 * time), 0.5 * np.sin(2 * np.pi * 440 * time)], 1).astype(np.float32)
    whole = _parts(rtsep.load(identity), tone, 48000, [], key)
    cut = _parts(rtsep.load(identity), tone, 48000, [1000, 1001, 30000], key)
    for one, other in zip(whole, cut, strict=True):
        assert np.array_equal(one, other) and len(one) == len(tone)
    assert np.array_equal(whole[0], tone)
    spectrum = np.abs(np.fft.rfft(whole[1][12000:36000, 0] * np.hanning(24000)))
    assert 2 * np.argmax(spectrum) == pytest.approx(440 * 2 ** (key / 12), abs=3)


def test_what_is_shifted_stays_where_it_was_in_time() -> None:
    """The centre of a burst, within 4 ms."""
    burst = np.zeros((48000, 2), np.float32)
    burst[20000:22000] = np.random.default_rng(0).standard_normal((2000, 2)) * np.hanning(2000)[:, None]
    for key in (-5, 5):
        shifter = Shifter(48000, 2, key)
        shifted = np.concatenate([shifter.process(burst[:7777]), shifter.process(burst[7777:]), shifter.flush()])
        assert len(shifted) == 48000
        power = np.square(shifted[:, 0])
        assert abs(np.sum(power * np.arange(48000)) / np.sum(power) - 21000) < 192


@pytest.mark.parametrize("decibels", [0.1, float("nan"), float("-inf")])
def test_vocals_louder_than_they_are_make_no_sense(decibels) -> None:
    with pytest.raises(InputError, match="from 0 down"):
        vocals_gain(decibels)


def test_karaoke_in_pieces_is_as_long_as_the_song(model) -> None:
    loaded, sound = rtsep.load(model), song(44100)
    karaoke = Karaoke(loaded, 44100, 2, vocals=-6.0)
    made = np.concatenate([*(karaoke.process(piece) for piece in np.array_split(sound, 7)), karaoke.flush()])
    accompaniment = enhance(sound, 44100, loaded)
    gain = np.float32(10 ** (-6 / 20))
    assert np.array_equal(made, accompaniment + gain * (sound - accompaniment))


# Files


def test_vocals_off_down_guide_solo_and_as_they_are(here, model) -> None:
    sound = song()
    soundfile.write("song.wav", sound, 48000, "FLOAT")
    accompaniment = enhance(sound, 48000, model)
    rest = sound - accompaniment
    cases = {
        ("--vocals", "off"): accompaniment,
        (): accompaniment,
        ("--vocals", "-6"): accompaniment + np.float32(10 ** (-6 / 20)) * rest,
        ("--guide",): accompaniment + np.float32(10 ** (-12 / 20)) * rest,
        ("--solo",): rest,
        ("--vocals", "0"): sound,
    }
    for options, wanted in cases.items():
        result = run("song.wav", "-o", "out.wav", "--overwrite", "--model", model, *options)
        assert result.exit_code == 0, result.stderr
        got, rate = soundfile.read("out.wav", dtype="float32")
        assert rate == 48000 and np.array_equal(got, wanted), options


def test_a_batch_keeps_names_tags_and_what_exists(here, model) -> None:
    """Names, formats, tags, several processes; what is there already is kept."""
    from mutagen.flac import FLAC

    Path("album").mkdir()
    for number, (suffix, rate) in enumerate((("flac", 44100), ("ogg", 48000), ("mp3", 44100))):
        soundfile.write(f"album/{number}.{suffix}", song(rate, 1.0), rate)
    tagged = FLAC("album/0.flac")
    tagged["title"], tagged["composer"] = "Rain", "Somebody"
    tagged.save()
    result = run("album", "--render", "--model", model, "--workers", "2", "--vocals", "-20")
    assert result.exit_code == 0, result.stderr
    made = ["0.karaoke.flac", "1.karaoke.ogg", "2.karaoke.flac"]
    assert [name for name in names(here / "album") if "karaoke" in name] == made
    assert FLAC("album/0.karaoke.flac")["title"] == ["Rain"]
    assert FLAC("album/0.karaoke.flac")["composer"] == ["Somebody"]
    assert soundfile.info("album/0.karaoke.flac").frames == 44100
    again = run("album", "--render", "--model", model)  # its own outputs are no songs
    assert again.exit_code == 0 and again.stderr == "3 were there already; --overwrite makes them anew.\n"


def test_a_key_is_rendered(here, model) -> None:
    soundfile.write("song.wav", song(44100), 44100)
    assert run("song.wav", "-o", "up.wav", "--key", "4", "--model", model).exit_code == 0
    assert run("song.wav", "-o", "same.wav", "--model", model).exit_code == 0
    up, same = soundfile.read("up.wav")[0], soundfile.read("same.wav")[0]
    assert up.shape == same.shape and not np.allclose(up, same, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--vocals", "3"), ["--vocals is '3'", "from 0 down"]),
        (("--vocals", "loud"), ["--vocals is 'loud'"]),
        (("--vocals", "nan"), ["--vocals"]),
        (("--vocals", "-3", "--solo"), ["choose one"]),
        (("--key", "7"), ["--key is 7", "-6 to 6"]),
        (("--model", "denoise"), ["speech", "accompaniment"]),
        (("--model", "nothing"), ["There is no model"]),
        (("--render", "-o", "out.wav"), ["choose one"]),
    ],
)
def test_bad_options_are_one_sentence(here, model, options, words) -> None:
    soundfile.write("song.wav", song(seconds=0.1), 48000)
    given_model = () if "--model" in options else ("--model", model)
    refused(run("song.wav", "-o", "out.wav", *options, *given_model), *words)
    assert names(here) == ["song.wav"]


def test_bad_songs_are_one_sentence_and_cost_nothing(here, model) -> None:
    Path("empty.wav").write_bytes(b"")
    soundfile.write("none.wav", np.zeros((0, 2)), 48000)
    Path("drm.m4p").write_bytes(b"\0\0\0\x20ftypM4P " + bytes(4000))
    soundfile.write("six.wav", np.zeros((4800, 6)), 48000)
    before = names(here)
    cases = [("empty.wav", "empty"), ("none.wav", "no sound"), ("drm.m4p", "drm.m4p")]
    for name, word in [*cases, ("six.wav", "1 or 2"), ("gone.wav", "does not exist")]:
        refused(run(name, "-o", "out.wav", "--model", model), name, word)
        assert names(here) == before
    soundfile.write("low.wav", song(8000), 8000)  # no reason to refuse
    assert run("low.wav", "-o", "out.wav", "--model", model).exit_code == 0
    assert soundfile.info("out.wav").samplerate == 8000


def test_a_mono_song_runs_through_the_model(here, model) -> None:
    soundfile.write("mono.wav", noisy(48000, 1, 1.0), 48000)
    assert run("mono.wav", "-o", "out.wav", "--model", model).exit_code == 0
    assert soundfile.info("out.wav").channels == 1


def test_key_without_its_library_is_one_sentence(here, model, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pylibrb", None)
    soundfile.write("song.wav", song(seconds=0.1), 48000)
    refused(run("song.wav", "-o", "out.wav", "--key", "2", "--model", model), "pip install")


def test_the_model_must_be_for_karaoke(tmp_path) -> None:
    path = Network(channels=2).save(tmp_path / "speech.onnx")
    with pytest.raises(InputError, match="puts out speech"):
        karaoke_model(str(path))


def test_baselines_render_and_say_that_they_cannot_help_with_mono(here) -> None:
    soundfile.write("song.wav", song(44100, 1.0), 44100)
    result = run("song.wav", "-o", "out.wav", "--model", "mid-side")
    assert result.exit_code == 0, result.stderr
    soundfile.write("mono.wav", noisy(48000, 1, 0.5), 48000)
    soundfile.write("alike.wav", np.repeat(noisy(48000, 1, 0.5), 2, axis=1), 48000)
    for name in ("mono.wav", "alike.wav"):
        refused(run(name, "-o", "no.wav", "--model", "mid-side"), name, "mono", "cannot help")
        assert not Path("no.wav").exists()


def test_a_model_that_looks_ahead_says_how_late_live_sound_will_be(model, capsys) -> None:
    ahead = rtsep.load(model).spec.lookahead
    for live in (False, True):
        assert chosen_model(model, live) == model
        assert ("139 ms late" in capsys.readouterr().err) == bool(live and ahead)  # (256 + 6400) / 48
    chosen_model("mid-side", live=True)  # looks ahead within the 11 ms of its window
    chosen_model(model, live=True, quiet=True)
    assert not capsys.readouterr().err


def test_songs_have_the_options_of_files(here, model) -> None:
    """A song that was cut, subfolders, names, and what is there already; see tests/cli/test_batches.py for each."""
    Path("album/cd1").mkdir(parents=True)
    soundfile.write("album/cd1/whole.wav", song(seconds=0.5), 48000)
    Path("album/cut.wav").write_bytes(Path("album/cd1/whole.wav").read_bytes()[:-9000])
    options = ("album", "--render", "-r", "--name", "{name}-sing{ext}", "--model", model, "-q")
    result = run(*options)
    assert result.exit_code == 1 and "cut.wav is damaged or cut off" in result.stderr
    assert run(*options, "--salvage", "--overwrite").exit_code == 0
    made = [path for path in sorted(Path("album").rglob("*-sing.wav"))]
    assert [path.name for path in made] == ["whole-sing.wav", "cut-sing.wav"]
    assert [soundfile.info(path).frames for path in made] == [24000, 24000 - 9000 // 4]
    assert run("album/cut.wav", "--render", "--name", "{name}-sing{ext}", "--skip-existing").exit_code == 0
