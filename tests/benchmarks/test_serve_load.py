"""benchmarks.serve_load: it loads both servers with all clients, and tells what it saw."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
from graphs import Network
from typer.testing import CliRunner

pytest.importorskip("picows")

from benchmarks import serve_load
from benchmarks.websocket_clients import received, stamped
from rtsep.errors import InputError


def test_both_servers_answer_every_frame(tmp_path: Path) -> None:
    path = Network(hop=128, analysis_window=256, synthesis_window=256).save(tmp_path / "tiny.onnx")
    app = serve_load.typer.Typer()
    app.command()(serve_load.main)
    words = ["--model", path, "--connections", 3, "--seconds", 0.5, "--repeats", 2, "--rate", 16000]
    done = CliRunner().invoke(app, [*map(str, words), "--json", str(tmp_path / "load.json")])
    assert done.exit_code == 0, done.output
    (found,) = json.loads((tmp_path / "load.json").read_text())["loads"]
    assert found["connections"] == 3
    for name in ("rtsep", "echo"):
        p50, p99 = (found[f"{name} p{percent} ms"] for percent in (50, 99))
        assert 0 < p50["least"] <= p50["median"] <= p99["most"]
        assert found[f"{name} p99 unread ms"]["least"] > 0
    assert found["added p50 ms"]["median"] > 0  # the engine does something


def test_an_answer_counts_from_when_it_was_there_not_from_when_it_was_read() -> None:
    """A client that is busy elsewhere is not the server's delay."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
        listening.accept()[0] as server,
    ):
        if not stamped(client):
            pytest.skip("The system stamps no packets.")
        time.sleep(0.1)  # the kernel begins to stamp in its own time
        sent = time.time()
        server.sendall(b"answer")
        time.sleep(0.3)
        data, came, now = received(client)
    assert data == b"answer" and -0.001 < came - sent < 0.2 and now - came > 0.1


def test_as_many_as_a_core_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"model": {"name": "denoise"}, "streams": {"median": 33.6}}
    (tmp_path / "streams.json").write_text(json.dumps({"models": [entry]}))
    monkeypatch.setattr(serve_load, "RESULTS", tmp_path)
    assert serve_load.promised("denoise") == 34
    with pytest.raises(InputError, match="has not measured karaoke"):
        serve_load.promised("karaoke")
