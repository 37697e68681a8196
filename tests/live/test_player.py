"""The player: its callback without a sound system, then songs through PortAudio and a private JACK server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from graphs import Network
from servers import JackServer, PulseServer, delay_of, install, jack_server
from test_jack import wait

import rtsep
from rtsep.engine.enhance import BACKEND, enhance
from rtsep.errors import InputError
from rtsep.live.backends import callbacks
from rtsep.live.backends.jack_client import JackClient
from rtsep.live.backends.player_block import new_player_block
from rtsep.live.backends.player_callback import play
from rtsep.live.backends.shared_state import FLAG_JOIN, FLAG_LATE, SharedBlock
from rtsep.live.engine.processes import Children
from rtsep.live.engine.supervisor import WORKER_TRIES
from rtsep.live.player.player import Player
from rtsep.live.player.player_session import PlayerSession
from rtsep.live.player.player_settings import PlayerSettings
from rtsep.live.player.playlist import clock_text
from rtsep.live.routing.devices import PLAYER_BLOCK
from rtsep.live.ui.keys import DOWN, UP
from rtsep.live.ui.player_view import line, player_view, screen, settings_text, strip
from tests.spectral_graphs import SpectralNetwork

pytestmark = pytest.mark.usefixtures("patient")

RATE = 48000
JOIN = 96  # 2 ms
RING = 1 << 20  # 21 s: nothing of a test is overwritten
PATIENCE = 90.0


STEREO = Network(hop=128, analysis_window=512, synthesis_window=256, channels=2, sources=("accompaniment", "vocals"))


@pytest.fixture(scope="session")
def stereo_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights: the accompaniment is not the song."""
    return str(STEREO.save(tmp_path_factory.mktemp("player") / "stereo.onnx"))


SEGMENTS = "segments"  # a model that sees whole segments, at another rate than the device


def looking_ahead(samples: int | str, folder: Path) -> str:
    if samples == SEGMENTS:
        return str(SpectralNetwork().save(folder / "segments.onnx"))
    assert isinstance(samples, int)
    network = replace(STEREO, lookahead=samples, analysis_window=STEREO.analysis_window + samples)
    return str(network.save(folder / "ahead.onnx"))


def tune(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """float32 [samples, 2], loud and never zero."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((round(rate * seconds), 2))).astype(np.float32)


def saved(folder: Path, name: str, sound: np.ndarray, rate: int = RATE) -> str:
    soundfile.write(folder / name, sound, rate, "FLOAT")
    return str(folder / name)


# The callback


class Rig:
    """A block with everything in it, and no device."""

    def __init__(self, song: np.ndarray, share: float = 0.25) -> None:
        """share: of the song that is accompaniment."""
        self.block = new_player_block(1 << 17)
        self.block.configure(RATE, 128, 0)
        self.block.player.playing = 1.0
        self.song, self.count = song, len(song)
        self.accompaniment = np.float32(share) * song
        self.vocals = song - self.accompaniment
        self.block.heard[:2, : self.count] = song.T
        self.block.heard[2:, : self.count] = self.vocals.T
        self.block.results[:2, : self.count] = self.accompaniment.T
        self.block.state.processed = self.count

    def call(self, frames: int = 128) -> np.ndarray:
        out = np.full((frames, 2), np.nan, np.float32)
        block = self.block
        records = (block.state.record, block.player.record)
        self.flags = play(*records, block.heard, block.results, block.played, out)
        return out

    def jump(self, to: int, at: int = -1) -> None:
        self.block.player.jump_at, self.block.player.jump_to = at, to
        self.block.player.jump_version += 2


def sine(count: int, hertz: float = 200.0) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hertz / RATE * np.arange(count))
    return np.stack([wave, 0.5 * wave], 1).astype(np.float32)


def steps(out: np.ndarray) -> float:
    return float(np.abs(np.diff(out, axis=0)).max())


@pytest.mark.parametrize("vocals", [0.0, 0.25, 1.0])
def test_the_player_callback_mixes_the_parts_bit_for_bit(vocals: float) -> None:
    rig = Rig(tune(1.0))
    rig.block.player.vocals = rig.block.player.vocals_target = vocals
    out = np.concatenate([rig.call(frames) for frames in (1, 127, 128, 1000, 333)])
    assert np.array_equal(out, (rig.accompaniment + np.float32(vocals) * rig.vocals)[: len(out)])
    assert rig.block.state.late_blocks == 0
    rig.block.close()


def test_original_and_parts_a_thousand_times_without_a_jump() -> None:
    rig, rng, outs, toggles = Rig(sine(120000)), np.random.default_rng(0), [], 0
    for _ in range(900):
        if rng.random() < 0.6:
            rig.block.state.bypass_target = 1 - rig.block.state.bypass_target
            toggles += 1
        if rng.random() < 0.6:
            player = rig.block.player
            player.accompaniment_target, player.vocals_target = map(float, rng.integers(0, 2, 2))
            toggles += 1
        outs.append(rig.call())
    out = np.concatenate(outs)
    # A gain moves by 1/960 a sample, and there are three of them; the song itself moves as it did.
    assert toggles > 1000 and steps(out) <= 1.001 * steps(rig.song) + 3 * 0.5 / 960
    rig.block.state.bypass_target = 1.0
    rig.call(1000)
    place = rig.block.player.position
    assert np.array_equal(rig.call(256), rig.song[place : place + 256])
    rig.block.close()


def test_pause_stands_still_and_goes_on_at_the_same_sample() -> None:
    rig = Rig(sine(48000))
    outs = [rig.call() for _ in range(20)]
    rig.block.player.playing_target = 0.0
    outs += [rig.call() for _ in range(20)]
    place = rig.block.player.position
    assert place == 20 * 128 + 959  # faded out within 20 ms
    assert not outs[-1].any() and rig.block.state.late_blocks == 0
    rig.block.player.playing_target = 1.0
    outs += [rig.call() for _ in range(20)]
    assert rig.block.player.position == place + 20 * 128
    assert steps(np.concatenate(outs)) <= 1.001 * steps(rig.song) + 0.5 / 960
    assert np.array_equal(outs[-1], rig.accompaniment[place + 19 * 128 :][:128])
    rig.block.close()


def test_a_jump_is_to_the_sample_and_makes_no_step() -> None:
    rig = Rig(sine(100000))
    first = [rig.call() for _ in range(10)]
    rig.jump(50000)
    second = [rig.call() for _ in range(10)]
    assert rig.block.player.position == 50000 + 1280
    joined = np.concatenate(second)
    assert np.array_equal(joined[JOIN:], rig.accompaniment[50000 + JOIN : 50000 + 1280])
    assert steps(np.concatenate(first + second)) <= 1.001 * steps(rig.accompaniment) + 0.5 / JOIN
    rig.block.close()


def test_a_jump_ahead_of_time_and_one_that_came_late_keep_time() -> None:
    """As for another key: the same song lies at another place, and not a sample is lost or played twice."""
    song = tune(0.5)
    for call_before in (0, 8):
        rig = Rig(np.concatenate([song, song]))
        for _ in range(call_before):
            rig.call()
        rig.jump(len(song) + 500, at=500)
        out = np.concatenate([rig.call() for _ in range(10)])
        begin = call_before * 128
        wanted = rig.accompaniment[begin : begin + 1280]
        differ = np.flatnonzero((out != wanted).any(axis=1))
        assert len(differ) <= JOIN and rig.block.player.position == len(song) + begin + 1280
        rig.block.close()


def test_nothing_there_is_late_and_skips_nothing_and_the_end_is_silence() -> None:
    rig = Rig(tune(0.2))
    rig.block.state.processed = 1000
    out = np.concatenate([rig.call() for _ in range(20)])
    assert rig.block.state.late_blocks == 13 and rig.block.player.position == 1000
    assert np.array_equal(out[:1000], rig.accompaniment[:1000]) and not out[1000 + JOIN :].any()
    rig.block.state.processed = rig.block.player.end = rig.count
    late = rig.block.state.late_blocks
    rest = np.concatenate([rig.call() for _ in range(100)])
    assert np.array_equal(rest[JOIN : rig.count - 1000], rig.accompaniment[1000 + JOIN :])
    assert not rest[rig.count - 1000 + JOIN :].any() and rig.block.state.late_blocks == late
    rig.block.close()


def test_the_player_callbacks_callback_allocates_nothing() -> None:
    code = callbacks.playing.llvm()
    assert "NRT_MemInfo_alloc" not in code and "NRT_Allocate" not in code and "fence seq_cst" in code


# Songs


def follow_the_original(block: SharedBlock, sound: np.ndarray, begin: int) -> list[tuple[int, int]]:
    """Position and place in ``sound`` of every block played since ``begin`` that no join reaches into.

    Each of them must be the song, sample for sample, and go on where the one before it ended.
    """
    rows = block.calls[: block.state.callbacks - 1].copy()
    end = block.state.position
    assert end < block.length
    played = block.samples_before(block.played[:2], end, end)
    places = {pair.tobytes(): place for place, pair in enumerate(sound)}
    found: list[tuple[int, int]] = []
    following, at = None, 0
    for row in rows[rows["began"] > 0]:  # while there is no device nothing is written down
        at, position = int(row["position"]), at
        if position < begin or at == position or row["flags"] & (FLAG_JOIN | FLAG_LATE):
            following = None
            continue
        place = places[played[position].tobytes()]
        assert np.array_equal(played[position:at], sound[place : place + at - position])
        assert following in (None, place)
        following = place + at - position
        found.append((position, place))
    return found


def tape(player: Player) -> np.ndarray:
    """Everything played so far, [samples, 2]."""
    end = player.block.state.position
    assert end < player.block.length
    return player.block.samples_before(player.block.played[:2], end, end)


@pytest.mark.parametrize("lookahead", [0, 12800, SEGMENTS])
def test_two_songs_are_played_bit_for_bit_and_without_a_gap(lookahead: int | str, tmp_path: Path) -> None:
    stereo_model = looking_ahead(lookahead, tmp_path)
    first, second = tune(0.7, 1), tune(0.6, 2)
    songs = (saved(tmp_path, "a.wav", first), saved(tmp_path, "b.wav", second))
    loaded = rtsep.load(stereo_model, BACKEND)  # with the backend of the player
    wanted = np.concatenate([enhance(first, RATE, loaded), enhance(second, RATE, loaded)])
    faded, same = 960, 0.0  # it comes out of a pause
    tries: list[tuple[int, float]] = []
    for _ in range(10):  # a machine that is too busy to feed in time, or to record, may try again
        with jack_server(128):
            instrument = JackClient(size=2 * RATE)
            with Player(PlayerSettings(songs, stereo_model, ring=RING, paused=True)) as player:
                instrument.connect("rtsep:out_0", "rtsep-probe:in")
                player.pause(False)
                recording = instrument.probe(np.zeros(2 * RATE, np.float32), PATIENCE)
                assert wait(lambda player=player: player.finished, PATIENCE) and player.position[0] == 1
                played, late = tape(player), player.block.state.late_blocks
                titles = [player.songs[number]["title"] for number in (0, 1)]
            instrument.close()
        # What another program gets from the device is what was played; it may lose a block itself.
        if not late:
            begin = delay_of(played[: len(wanted), 0], recording, len(recording) - len(wanted))
            same = np.mean(recording[begin + faded : begin + len(wanted)] == played[faded : len(wanted), 0])
        tries.append((late, float(same)))
        if same > 0.9:
            break
    assert same > 0.9 and not late and titles == ["a", "b"], tries
    assert np.array_equal(played[faded : len(wanted)], wanted[faded:])
    assert len(played) == len(wanted) + JOIN  # and then silence


@pytest.mark.parametrize("lookahead", [0, 12800, SEGMENTS])
def test_seek_key_and_volume_while_it_plays(lookahead: int | str, tmp_path: Path) -> None:
    stereo_model = looking_ahead(lookahead, tmp_path)
    sound = tune(20.0, 3)
    song = saved(tmp_path, "song.wav", sound)
    with jack_server(256), Player(PlayerSettings((song,), stereo_model, ring=2 * RING)) as player:
        block = player.block
        player.compare(True)  # the original: known to the bit
        assert wait(lambda: player.block.state.bypass == 1.0)
        original = block.state.position
        assert wait(lambda: player.songs[0].get("peaks"))
        for target in (8.0, 2.5):
            turn = block.player.jumps_made
            player.seek(target)
            assert wait(lambda turn=turn: block.player.jumps_made > turn, PATIENCE)
            at = block.state.position
            # The place is told a moment after the sound is there.
            assert wait(lambda target=target: target <= player.position[1] < target + 5.0)
            assert wait(lambda at=at: block.state.position > at + 6000, PATIENCE)
            played = tape(player)
            # A stretch after the jump is the song's, and so is where it is said to be.
            place = round(target * RATE) + JOIN
            begins = np.flatnonzero(played[:, 0] == sound[place, 0])
            (begin,) = [k for k in begins if np.array_equal(played[k : k + 1000], sound[place : place + 1000])]
            assert begin <= at
        turn = block.player.jumps_made
        player.set_key(3)
        assert wait(lambda: block.player.jumps_made > turn, PATIENCE)
        assert wait(lambda: player.position[1] > 3.0, PATIENCE)
        # The original was never out of step, whatever the key.
        assert len(follow_the_original(block, sound, original)) > 100
        player.pause(True)
        assert wait(lambda: player.block.player.playing == 0.0)
        seconds = player.position[1]
        time.sleep(0.1)
        assert player.position[1] == seconds and player.status()["state"] == "paused"
        player.pause(False)
        player.compare(False)
        player.set_volume(-20.0)
        assert wait(lambda: player.position[1] > seconds + 0.3, PATIENCE)
        assert wait(lambda: 0.0999 < player.block.state.volume < 0.1001)


def test_the_device_vanishes_and_the_song_goes_on_where_it_was(stereo_model: str, tmp_path: Path) -> None:
    """kill -9 of the server, and then of the worker."""
    install("jackd2", "libportaudio2", program="jackd")
    sound = tune(15.0, 4)
    song, told = saved(tmp_path, "song.wav", sound), []
    settings = PlayerSettings((song,), stereo_model, ring=2 * RING)
    with JackServer(128) as server, Player(settings, tell=told.append) as player:
        block = player.block
        player.compare(True)
        assert wait(lambda: player.position[1] > 0.5, PATIENCE)
        server.kill()
        assert wait(lambda: player.state == "waiting", PATIENCE)
        place, written = block.player.position, block.state.position
        time.sleep(0.3)
        assert block.player.position == place and "stands still" in told[-1]
        server.start()
        assert wait(lambda: player.state == "running" and "goes on" in told[-1], PATIENCE)
        assert wait(lambda: block.state.position > written + 20000, PATIENCE)
        # After the 20 ms that it fades in it is where it was, and a device that came late moves nothing.
        position, found = follow_the_original(block, sound, written + 1000)[0]
        assert found - place == position - written
        worker = player.processes["worker"]
        assert worker
        os.kill(worker, signal.SIGKILL)
        assert wait(lambda: player.processes["worker"] != worker, PATIENCE)
        done = block.state.processed
        assert wait(lambda: block.state.processed > done + 48000, PATIENCE)
        assert wait(lambda: block.player.position > done + 10000, PATIENCE)
        assert player.restarts == {"worker": 1, "device": 1}
        assert any(at >= done + 5000 for _, at in follow_the_original(block, sound, written + 1000))

        def given_up() -> bool:
            """Whether one that cannot live is no more started; until then it cannot."""
            worker = player.processes["worker"]
            if worker:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
            return player.failure is not None

        assert wait(given_up, PATIENCE)
        assert "times in a row" in str(player.failure) and player.restarts["worker"] <= WORKER_TRIES + 1
        children = [pid for pid in player.processes.values() if pid]
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)


def test_a_sound_server_that_pauses_is_not_a_device_that_is_lost(
    stereo_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what users get: two seconds without a callback, as PulseAudio has them by itself, and the song goes on."""
    monkeypatch.undo()  # the patience of other tests
    sound = tune(30.0, 8)
    with PulseServer() as server:
        settings = PlayerSettings((saved(tmp_path, "song.wav", sound),), stereo_model, ring=2 * RING)
        with Player(settings) as player:
            assert player.status()["block"] == PLAYER_BLOCK and player.device["host"] == "PulseAudio"
            assert wait(lambda: player.position[1] > 1.0, PATIENCE)
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(2.0)  # of which some pass while the device still has sound
            server.process.send_signal(signal.SIGCONT)
            place = player.position[1]
            assert wait(lambda: player.position[1] > place + 1.0, PATIENCE)
            assert player.restarts == {"worker": 0, "device": 0} and player.state == "running"
            supervisor = player._supervisor
            blocks = []
            for _ in range(4):  # one that is lost nevertheless is asked for larger blocks
                supervisor.device_lost("No sound came any more")
                blocks.append(supervisor._asked_block)
            assert blocks == [4096, 8192, 8192, 8192]


def test_where_no_song_is_there_it_says_so_without_asking_for_a_device(stereo_model: str, tmp_path: Path) -> None:
    gone, empty = tmp_path / "gone.mp3", tmp_path / "empty.wav"
    empty.touch()
    with pytest.raises(InputError, match=r"gone\.mp3 does not exist"):
        Player(PlayerSettings((str(gone), str(empty)), stereo_model)).start()
    with pytest.raises(InputError, match=r"empty\.wav is empty"):
        Player(PlayerSettings((str(empty),), stereo_model)).start()


def test_songs_that_cannot_be_played_are_named_and_left_out(stereo_model: str, tmp_path: Path) -> None:
    broken, six = tmp_path / "broken.mp3", saved(tmp_path, "six.wav", np.zeros((4800, 6), np.float32))
    broken.write_bytes(b"no song at all" * 100)
    good, told = saved(tmp_path, "low.wav", tune(0.6, 5, 8000)[:, :1], 8000), []  # mono, 8 kHz: no reason to refuse
    with jack_server(128):
        settings = PlayerSettings((str(broken), six, good), stereo_model, ring=RING, paused=True)
        with Player(settings, tell=told.append) as player:
            player.compare(True)
            assert wait(lambda: player.block.state.bypass == 1.0, PATIENCE)
            player.pause(False)
            assert wait(lambda: player.finished, PATIENCE) and player.position[0] == 2
            played = tape(player)
        assert np.array_equal(played[:, 0], played[:, 1]) and np.count_nonzero(played) > RATE
        assert len(told) == 2 and "broken.mp3" in told[0] and "six.wav" in told[1]
        with pytest.raises(InputError, match="broken"):
            Player(PlayerSettings((str(broken),), stereo_model)).start()
        with pytest.raises(InputError, match="cannot help"):
            Player(PlayerSettings((good,), "mid-side")).start()
        with pytest.raises(InputError, match="no output device"):
            Player(PlayerSettings((good,), stereo_model, output="nothing here")).start()


def test_time_as_people_write_it() -> None:
    assert [clock_text(seconds) for seconds in (-1, 0, 59.9, 61, 3600)] == ["0:00", "0:00", "0:59", "1:01", "60:00"]


# The program


def test_the_program_plays_a_list_in_json_and_ends_with_it(stereo_model: str, tmp_path: Path) -> None:
    saved(tmp_path, "1.wav", tune(0.8, 6, 44100), 44100)
    saved(tmp_path, "2.wav", tune(0.5, 7), RATE)
    command = [sys.executable, "-m", "rtsep", "karaoke", str(tmp_path), "--model", stereo_model, "--json"]
    with jack_server(256):
        done = subprocess.run([*command, "--vocals", "-9"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert lines[0]["songs"] == 2 and lines[0]["vocals"] == -9.0 and lines[0]["state"] == "running"
    assert lines[0]["output"] == "system" and not done.stderr


def test_a_song_that_begins_at_its_end_or_behind_it_is_over_at_once(stereo_model: str, tmp_path: Path) -> None:
    song = saved(tmp_path, "1.wav", tune(0.8))
    command = [sys.executable, "-m", "rtsep", "karaoke", song, "--model", stereo_model, "--from", "9", "--json"]
    with jack_server(256):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    assert lines and all(line["seconds"] == pytest.approx(0.8, abs=0.01) for line in lines)
    assert lines[-1]["late"] == 0


def test_keys_turn_what_they_should_and_the_screen_shows_it(stereo_model: str, tmp_path: Path) -> None:
    """A whole session without a device: what keys do to the player, and what is drawn of it."""
    from rich.console import Console

    session = PlayerSession(PlayerSettings(("a.wav", "b.wav"), stereo_model), lambda player: player_view(player, False))
    player = session.player
    player.block = new_player_block(1 << 14)
    player.children = Children(player.block)
    player.songs[0] = {"title": "A song", "seconds": 100.0, "peaks": [0.1, 1.0] * 200}
    for key in (UP, UP, " ", "b", "]", "]", "[", ","):
        session.press(key)
    assert (player.vocals, player.comparing, player.key, player.volume) == (-27.0, True, 1, -3.0)
    assert player.paused  # it was not
    for key, vocals in ((DOWN, -30.0), (DOWN, None), (DOWN, None), ("g", -12.0), ("v", None), ("v", -12.0)):
        session.press(key)
        assert player.vocals == vocals
    for _ in range(9):
        session.press(UP)
    assert player.vocals == 0.0
    session.press("s")
    assert player.solo and "vocals only" in settings_text(player.status() | {"original": False})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(screen(player.status(), player.songs, 80, ["Something happened."]))
    shown = console.export_text()
    for word in ("A song", "0:00 / 1:40", "the original", "key +1", "█", "Something happened.", "space pause"):
        assert word in shown
    assert "the original" in line(player.status())
    assert [strip([1.0, 0.0], 4, 0.5).plain, strip([], 3, 0.0).plain] == ["██  ", "   "]
    player.block.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--volume", "3"], "--volume is 3"),
        (["--capture", "--key", "2"], "are for songs"),
        (["--virtual-sink", "--solo"], "are for songs"),
        (["--output", "nothing here"], "no output device"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(
    stereo_model: str, tmp_path: Path, options: list[str], words: str
) -> None:
    song = saved(tmp_path, "a.wav", tune(0.1))
    command = [sys.executable, "-m", "rtsep", "karaoke", song, "--model", stereo_model, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
