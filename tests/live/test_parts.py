"""The parts of a session that need no sound: devices by name, keys, presets, views."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import Network

from rtsep.engine.gate_settings import GateSettings
from rtsep.errors import InputError
from rtsep.live import presets
from rtsep.live.backends.live_callback import take_in
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.live.choices import parse_gate
from rtsep.live.engine.live_engine import LiveSettings
from rtsep.live.model_selection import choose, work
from rtsep.live.routing import sound_server
from rtsep.live.routing.devices import JACK, Device, block_size, find, pair, two_clocks
from rtsep.live.session import next_strength
from rtsep.live.ui.keys import DOWN, UP, parse
from rtsep.live.ui.live_view import line, meter, table
from rtsep.live.ui.player_view import screen
from rtsep.live.ui.views import JsonView, PlainView
from rtsep.model import load

RATE = 48000


def device(
    index: int, name: str, host: str = "ALSA", inputs: int = 1, outputs: int = 1, default: bool = False
) -> Device:
    return Device(index, name, host, inputs, outputs, RATE, default, default)


LIST = [
    device(0, "USB Audio", inputs=1, outputs=0),
    device(1, "USB Audio", JACK, inputs=1, outputs=0),
    device(2, "Speakers", outputs=2, inputs=0, default=True),
    device(3, "Headset", JACK, default=True),
    device(4, "rtsep", JACK),
    device(5, "USB Audio 2", "OSS"),
]


def test_a_device_is_found_by_number_name_and_part() -> None:
    assert find(LIST, "3", "input").name == "Headset"
    assert find(LIST, "usb audio", "input").index == 1  # JACK before ALSA
    assert find(LIST, "usb audio", "input", host="ALSA").index == 0
    assert find(LIST, "speak", "output").index == 2
    assert find(LIST, None, "input").index == 3
    assert find(LIST, "rtsep", "output").index == 4
    source, target = pair(LIST, "usb audio", "speakers")
    assert (source.index, target.index) == (0, 2)  # one host API for both


@pytest.mark.parametrize(
    "wanted,kind,words",
    [
        ("usb", "input", "could be any of"),
        ("nowhere", "input", "there are: Headset"),
        ("17", "output", "There is no output device"),
        ("rtsep", "input", "own output"),
        ("4", "input", "own output"),
        ("2", "input", "There is no input device"),
    ],
)
def test_what_is_no_device_is_refused(wanted: str, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find(LIST, wanted, kind)


def test_no_device_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no default input"):
        find([], None, "input")


def test_block_sizes() -> None:
    assert block_size(128, LIST[3], LIST[3]) == 0  # JACK: any other size delays by a whole block
    assert block_size(None, LIST[0], LIST[2]) == 128 and block_size(64, LIST[0], LIST[2]) == 64
    pulse = device(9, "pulse")
    assert block_size(None, pulse, pulse) == 480


@pytest.mark.parametrize(
    "values", [{"slack": -1}, {"slack": 17}, {"block": 8}, {"strength": -1.0}, {"strength": float("inf")}]
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        LiveSettings(**values)


def test_keys_and_strength() -> None:
    assert list(parse("bq\x1b[A\x1b[B+-R1")) == ["b", "q", UP, DOWN, UP, DOWN, "r"]
    assert next_strength(None, -1) == 30.0 and next_strength(None, 1) is None and next_strength(30.0, 1) is None
    assert next_strength(2.0, -1) == 0.0 and next_strength(6.0, 1) == 9.0


def test_presets_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "path", lambda: tmp_path / "deep" / "presets.toml")
    settings = {"input": 'Mic "A"\\é', "slack": 3, "virtual_mic": True, "strength": "24", "output": None}
    presets.save_preset("desk", settings)
    presets.save_preset("road", {"slack": 1})
    assert presets.load_preset("desk") == {k: v for k, v in settings.items() if v is not None}
    assert presets.load_preset("road") == {"slack": 1}
    with pytest.raises(InputError, match="desk, road"):
        presets.load_preset("sea")
    with pytest.raises(InputError, match="letters"):
        presets.save_preset("a b", {})
    presets.path().write_text("[x]\nslack: 3\n")
    with pytest.raises(InputError, match="line 2"):
        presets.load_preset("x")
    presets.path().write_text("slack = 3\n")
    with pytest.raises(InputError, match="outside of a preset"):
        presets.load_preset("slack")


def test_presets_of_older_versions_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 0.1 wrote its values as JSON, with escapes of its own choice."""
    monkeypatch.setattr(presets, "path", lambda: tmp_path / "presets.toml")
    presets.path().write_text(r"[desk]" + "\n" + r'input = "Mic \"A\"\\é"' + "\nmonitor = true\nslack = 3\n", "utf-8")
    assert presets.load_preset("desk") == {"input": 'Mic "A"\\é', "monitor": True, "slack": 3}


def test_the_best_model_that_is_quick_enough_is_chosen(
    random_model: str, slow_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really measured: a network of a few thousand numbers, and one that takes several hops a hop."""
    song = Network(hop=128, analysis_window=512, synthesis_window=256, sources=("vocals", "rest"))
    models = {
        "small": Path(random_model),
        "large": Path(slow_model),
        "karaoke": song.save(tmp_path / "karaoke.onnx"),
        "ahead": replace(song, hidden=64, lookahead=128).save(tmp_path / "ahead.onnx"),
    }
    assert work(load(models["large"])) > 100 * work(load(models["small"]))
    assert choose("speech", models) == "small"
    assert choose("speech", {"large": models["large"]}) == "large"  # nothing is quicker
    assert work(load(models["ahead"])) > work(load(models["karaoke"]))
    assert choose("vocals", models) == "karaoke"  # the larger one waits for what is not there yet
    monkeypatch.setattr("rtsep.live.model_selection.share_of_hop", lambda model: 0.4)
    assert choose("speech", models) == "large"  # where the machine can, it is the better one
    with pytest.raises(InputError, match="drums"):
        choose("drums", models)


def test_gate_options() -> None:
    assert parse_gate({}) is None and parse_gate({"gate": "off", "gate_hold": 5.0}) is None
    wanted = GateSettings(18.0, open=0.4, hold=0.1, lookback=0.008)
    assert parse_gate({"gate": "18", "gate_open": 0.4, "gate_hold": 100.0, "gate_lookback": 8.0}) == wanted
    with pytest.raises(InputError, match="off or a number of dB"):
        parse_gate({"gate": "loud"})


STATUS: dict[str, Any] = {
    "state": "running", "model": "denoise", "target": "speech", "input": "Mic", "output": "Out",
    "bypass": False, "paused": False, "muted": False, "recording": False, "period": 128,
    "heard_db": -20.0, "played_db": -32.0, "reduction_db": 12.0, "strength": None, "added_ms": 8.0, "block": 128,
    "slack": 2, "rate": RATE, "budget_ms": 5.33, "late": 1, "callbacks": 900, "xruns": 0,
    "clocks": None, "activity": 0.25, "gate_db": -18.0,
    "compute_ms": {"p50": 0.3, "p99": 0.5, "max": 1.0}, "gap_ms": {"p50": 2.67, "p99": 2.8, "max": 3.0},
}  # fmt: skip


@contextlib.contextmanager
def shared_block(channels: int) -> Iterator[SharedBlock]:
    block = SharedBlock.create(channels)
    yield block
    block.close()


def drawn(status: dict[str, Any], told: list[str], width: int = 100) -> str:
    """What a terminal of this width shows."""
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table(status, width, told))
    return console.export_text()


def test_views() -> None:
    assert "delay 8.0 ms" in line(STATUS) and "late 1 of 900" in line(STATUS)
    shown = drawn(STATUS, ["Something [odd] happened."])
    assert re.search(r"speech +25 %; gate -18 dB", shown) and "two clocks" not in shown
    clocks = {"drift_ppm": 208.4, "fill_ms": 7.0, "target_ms": 7.5, "underruns": 0, "slips": 3}
    with_clocks = drawn(STATUS | {"clocks": clocks, "activity": None}, [])
    assert "drift +208 ppm; between them 7.0 of 7.5 ms; slips 3" in with_clocks
    assert line(STATUS | {"clocks": clocks}).endswith(", drift +208 ppm")
    assert "8.00 ms" in shown and "[odd]" in shown
    assert "12.0 dB now; no limit is set" in shown
    assert "12.0 dB now; limited to 24 dB" in drawn(STATUS | {"strength": 24.0}, [])
    assert meter(0.0).count("█") == 30 and meter(-60.0).count("█") == 0 and len(meter(-30.0)) == 30
    assert line({"state": "waiting"}) == "waiting"


@pytest.mark.parametrize("key", ["muted", "recording", "bypass", "paused"])
def test_what_must_not_be_overlooked_is_seen_in_every_view(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"muted": "MUTED", "recording": "RECORDING", "bypass": "BYPASSED", "paused": "TOO SLOW"}[key]
    on = STATUS | {key: True}
    assert words in line(on) and words not in line(STATUS)
    assert words in drawn(on, [], 40) and words not in drawn(STATUS, [], 40)
    plain = PlainView(line, ("state", "muted", "recording", "bypass", "paused"))
    for status in (STATUS, STATUS, on, on, STATUS):  # at once, not after ten seconds
        plain.show(status)
    assert [words in said for said in capsys.readouterr().err.splitlines()] == [False, True, False]
    JsonView().show(on)
    assert json.loads(capsys.readouterr().out)[key] is True


def test_no_name_from_outside_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\x1b]0;b\x07\x9b2Jc\r"
    shown = drawn(STATUS | {"input": evil, "output": evil, "model": evil}, [])
    title = {"state": "running", "model": evil, "output": evil, "title": evil, "song": 1, "songs": 1, "seconds": 0.0}
    title |= {"vocals": None, "original": False, "solo": False, "key": 0, "volume": 0.0, "late": 0, "xruns": 0}
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(screen(title, {}, 200, []))
    shown += console.export_text()
    view = PlainView(lambda status: status["title"], ("state",))
    view.show(title)
    view.tell(evil)
    said = capsys.readouterr().err
    assert said.splitlines() == [r"a\x1b]0;b\x07\x9b2Jc\r", r"rtsep: a\x1b]0;b\x07\x9b2Jc\r"]
    assert shown.count(r"a\x1b]0;b\x07\x9b2Jc\r") == 6
    assert not set("\x1b\x07\x9b\r") & set(shown)


def test_keys_fit_forty_columns() -> None:
    shown = drawn(STATUS, [], 40)
    for words in ("b bypass", "m mute", "r record", "0 slack 0", "strength", "q quit"):
        assert any(words in text for text in shown.splitlines())
    status = {"state": "waiting", "model": "mid-side", "output": None, "title": "A", "song": 1, "songs": 1}
    status |= {"seconds": 0.0, "vocals": None, "original": False, "solo": False, "key": 0, "volume": 0.0}
    status |= {"late": 0, "xruns": 0}
    from rich.console import Console

    console = Console(width=40, record=True, file=io.StringIO())
    console.print(screen(status, {}, 40, []))
    shown = console.export_text()
    for words in ("space pause", "n p song", "g guide", "[ ] key", "q quit", "no device yet", "WAITING"):
        assert any(words in text for text in shown.splitlines()), words
    assert "None" not in shown


def test_names_of_devices_that_look_like_markup_are_shown_as_they_are() -> None:
    names = {"input": "USB [Pro]", "output": "Desk [/b] C++"}
    assert "USB [Pro] → Desk [/b] C++" in drawn(STATUS | names, ["USB [/red] is back."])
    strange = [device(7, "C++ Synth", JACK, 0, 0), device(8, "USB [Pro]", JACK, 2, 2)]
    assert find(strange, "[pro]", "input").index == 8
    with pytest.raises(InputError, match="takes for a pattern"):
        find(strange, "c++", "input")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_whose_name_is_not_text_is_living_all_the_same() -> None:
    before = Path("/proc/self/comm").read_bytes()
    try:
        Path("/proc/self/comm").write_bytes(b"caf\xe9")
        assert sound_server._identity(os.getpid()) is not None
    finally:
        Path("/proc/self/comm").write_bytes(before.strip())


def test_a_device_of_the_sound_server_is_found_by_its_names() -> None:
    server = [
        Device(1, "alsa_input.usb", "PulseAudio", 1, 0, RATE, True, False, description="USB Microphone"),
        Device(1, "alsa_output.usb", "PulseAudio", 0, 2, RATE, False, True, description="USB Speakers"),
    ]
    devices = [device(0, "USB: Audio (hw:1,0)"), device(1, "pulse", default=True), *server]
    assert find(devices, "usb microphone", "input") == server[0] == find(devices, "alsa_input", "input")
    assert find(devices, "USB", "output") == server[1]  # which has the hardware
    assert find(devices, "0", "input").index == 0
    assert not two_clocks(*pair(devices, "usb", "usb"))


def test_the_default_is_the_sound_servers_by_its_name() -> None:
    """So that it shares the clock of a device that is named; JACK's, where there is one, has the shorter way."""
    server = [
        Device(1, "alsa_input.usb", "PulseAudio", 1, 0, RATE, False, False),
        Device(1, "alsa_input.desk", "PulseAudio", 1, 0, RATE, True, False),
        Device(1, "alsa_output.desk", "PulseAudio", 0, 2, RATE, False, True),
    ]
    devices = [device(0, "default", default=True), device(1, "pulse"), *server]
    assert pair(devices, None, None) == (server[1], server[2])
    assert not two_clocks(*pair(devices, "alsa_input.usb", None))
    assert not two_clocks(*pair(devices, None, "alsa_output.desk"))
    assert pair([*devices, device(2, "system", JACK, 2, 2, default=True)], None, None)[0].host == JACK
    own = [device(0, "default", default=True), Device(1, "rtsep_mic", "PulseAudio", 1, 0, RATE, True, False)]
    with pytest.raises(InputError, match="default microphone is rtsep_mic, rtsep's own"):  # ALSA's leads to the same
        find(own, None, "input")


@pytest.mark.parametrize(
    "text,mix,channels", [(None, 0, 1), ("2", 2, 2), ("left", 1, 1), ("right", 2, 2), ("mean", -1, 8)]
)
def test_channels_of_the_input(text: str | None, mix: int, channels: int) -> None:
    settings = LiveSettings(input_channels=text)
    assert (settings.input_mix, settings.device_channels) == (mix, channels)
    block = (np.arange(24).reshape(8, 3) + 1).astype(np.float32) / 8
    with shared_block(1) as shared:
        shared.state.input_mix = mix
        take_in(shared.state.record, shared.heard, block)
        wanted = block.mean(axis=1) if mix < 0 else block[:, max(0, mix - 1)]
        assert np.allclose(shared.heard[0, :8], wanted, atol=1e-7)


def test_channels_that_cannot_be_are_refused() -> None:
    for text in ("0", "9", "both", "-1"):
        with pytest.raises(InputError, match="--input-channels"):
            LiveSettings(input_channels=text)
