"""The parts of a session that need no sound: devices by name, howling, the governor, keys, presets, the choice."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import Network

from rtsep.cli.live import parse_gate
from rtsep.engine.gate import GateSettings
from rtsep.errors import InputError
from rtsep.live import presets
from rtsep.live.doctor import unit
from rtsep.live.feedback_detector import SIZE, HowlDetector
from rtsep.live.governor import DRY, MAX_SLACK, WINDOW_S, Governor
from rtsep.live.live_engine import LiveSettings
from rtsep.live.model_selection import choose, work
from rtsep.live.recorder import Recorder
from rtsep.live.routing.devices import JACK, Device, block_size, find, pair
from rtsep.live.session import stepped
from rtsep.live.ui.keys import DOWN, UP, parse
from rtsep.live.ui.live_view import line, meter, table
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
    "values", [{"slack": 0}, {"slack": 17}, {"block": 8}, {"strength": -1.0}, {"strength": float("inf")}]
)
def test_impossible_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        LiveSettings(**values)


def looks(sound: np.ndarray) -> bool:
    """Whether a detector that looks ten times a second hears a howl."""
    detector = HowlDetector()
    return any([detector.hears(sound[end - SIZE : end]) for end in range(SIZE, len(sound) + 1, RATE // 10)])


def test_a_growing_tone_howls_and_voices_music_and_noise_do_not() -> None:
    t = np.arange(2 * RATE) / RATE
    rng = np.random.default_rng(0)
    noise = 0.003 * rng.standard_normal(len(t))
    for hertz in (300.0, 1234.5, 3000.0, 9000.0):
        assert looks((np.minimum(0.5, 1e-4 * np.exp(6 * t)) * np.sin(2 * np.pi * hertz * t) + noise).astype(np.float32))
    voice = sum(np.sin(2 * np.pi * 120 * k * t + 0.3 * np.sin(2 * np.pi * 5 * t) * k) / k for k in range(1, 20))
    held = sum(np.sin(2 * np.pi * 220 * k * t) / k**2 for k in range(1, 10))  # a note of an instrument
    for sound in (0.1 * voice, 0.1 * held, 0.1 * rng.standard_normal(len(t)), 0 * t):
        assert not looks((sound + noise).astype(np.float32))


def test_the_governor_gives_slack_or_the_dry_signal() -> None:
    quick, slow, hopeless = np.full(90, 0.5), np.full(90, 2.0), np.full(90, 3.0)
    slow[::20] = 9.0
    governor = Governor(may_slack=True)
    assert [governor.judge(quick, 2.67, 2, 0.0) for _ in range(10)] == [None] * 10
    assert [governor.judge(slow, 2.67, 2, 0.05), governor.judge(quick, 2.67, 2, 0.0)] == [None, None]  # one burst
    assert governor.judge(np.zeros(0), 2.67, 2, 0.0) is None

    def verdicts(compute: np.ndarray, slack: int, late: float, may_slack: bool = True) -> list[int | None]:
        governor = Governor(may_slack)
        return [governor.judge(compute, 2.67, slack, late) for _ in range(12)]

    # 9 ms are four blocks of 2.67 ms: one step there, in less than 1.5 s altogether.
    assert next(v for v in verdicts(slow, 2, 0.05) if v is not None) == 4
    assert verdicts(slow, 2, 0.05).index(4) * WINDOW_S < 1.5
    # No slack helps when a block's compute is longer than the block: the dry signal, within a second.
    assert next(v for v in verdicts(hopeless, 2, 0.6) if v is not None) == DRY
    assert verdicts(hopeless, 2, 0.6).index(DRY) * WINDOW_S < 1.0
    # A slack that was set is never touched; what still comes late then is only given up when it is a fifth.
    assert set(verdicts(slow, 2, 0.05, may_slack=False)) == {None}
    assert DRY in verdicts(quick, MAX_SLACK, 0.5)


def test_keys_and_strength() -> None:
    assert list(parse("bq\x1b[A\x1b[B+-R1")) == ["b", "q", UP, DOWN, UP, DOWN, "r"]
    assert stepped(None, -1) == 30.0 and stepped(None, 1) is None and stepped(30.0, 1) is None
    assert stepped(2.0, -1) == 0.0 and stepped(6.0, 1) == 9.0


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


def test_the_unit_starts_the_virtual_microphone() -> None:
    assert "denoise --virtual-mic" in unit() and "[Install]" in unit()


STATUS: dict[str, Any] = {
    "state": "running", "model": "denoise", "target": "speech", "input": "Mic", "output": "Out",
    "bypass": False, "paused": False,
    "heard_db": -20.0, "played_db": -32.0, "reduction_db": 12.0, "strength": None, "added_ms": 8.0, "block": 128,
    "slack": 2, "rate": RATE, "budget_ms": 5.33, "late": 1, "callbacks": 900, "xruns": 0,
    "clocks": None, "activity": 0.25, "gate_db": -18.0,
    "compute_ms": {"p50": 0.3, "p99": 0.5, "max": 1.0}, "gap_ms": {"p50": 2.67, "p99": 2.8, "max": 3.0},
}  # fmt: skip


def test_views() -> None:
    from rich.console import Console

    assert "delay 8.0 ms" in line(STATUS) and "late 1 of 900" in line(STATUS)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(STATUS, ["Something [odd] happened."]))
    shown = console.export_text()
    assert re.search(r"speech +25 %; gate -18 dB", shown) and "two clocks" not in shown
    clocks = {"drift_ppm": 208.4, "fill_ms": 7.0, "target_ms": 7.5, "starved": 0, "slips": 3}
    console.print(table(STATUS | {"clocks": clocks, "activity": None}, []))
    assert "drift +208 ppm; between them 7.0 of 7.5 ms; slips 3" in console.export_text()
    assert line(STATUS | {"clocks": clocks}).endswith(", drift +208 ppm")
    assert "8.00 ms" in shown and "12.0 dB" in shown and "[odd]" in shown
    assert meter(0.0).count("█") == 30 and meter(-60.0).count("█") == 0 and len(meter(-30.0)) == 30
    assert line({"state": "waiting"}) == "waiting"


def test_a_recording_holds_what_was_heard_and_played(tmp_path: Path) -> None:
    import soundfile
    from test_callback import Rig

    class Pretended:
        block: Any = None

    rig = Rig(128)
    live = Pretended()
    live.block = rig.block
    recorder = Recorder(live, tmp_path / "new")  # type: ignore[arg-type]
    sound = (0.1 * np.random.default_rng(0).standard_normal(128 * 50)).astype(np.float32)
    played = []
    for k in range(50):
        played.append(rig.call(sound[k * 128 :][:128]))
        recorder.pull()
    recorder.close()
    rig.close()
    for path, wanted in zip(recorder.paths, (sound, np.concatenate(played)), strict=True):
        assert np.abs(soundfile.read(path, dtype="float32")[0] - wanted).max() < 2e-7
    assert recorder.missed == 0
    with pytest.raises(InputError, match="another folder"):
        Recorder(live, "/proc/nowhere")  # type: ignore[arg-type]
