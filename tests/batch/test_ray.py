"""On a real Ray cluster of two machines (two raylets here): whatever is killed, every file is done, and once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("ray")

from rtsep.audio_io.files import enhance_file
from rtsep.batch import ray_pool
from rtsep.batch.locations import Item
from rtsep.batch.ray_pool import RayPool, cluster
from rtsep.batch.run import NAME
from rtsep.errors import RtsepError
from rtsep.model import load
from tests.batch.test_items import sound
from tests.program import HOME, assert_one_sentence, command, environment, spawn
from tests.recordings import noisy

pytestmark = pytest.mark.servers
FILES, SECONDS = 10, 12.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with one core each."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(HOME)}  # raylets pass it on to workers
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 80 << 20}
    for attempt in range(4):  # Ray waits 30 s for a node, which a busy machine may take
        made = Cluster()
        try:
            made.add_node(**options, include_dashboard=False)
            made.add_node(**options)
            break
        except Exception:
            made.shutdown()
            if attempt == 3:
                raise
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    for number in range(FILES):
        length = round(16000 * (SECONDS + number))
        soundfile.write(folder / f"{number}.wav", np.resize(noisy(16000, 1, 11.0)[:, 0], length), 16000)
    return folder


def workers(nodes: Any) -> list[int]:
    """Processes of this cluster's workers that are at a file."""
    raylets = {
        found.process.pid for node in [nodes.head_node, *nodes.worker_nodes] for found in node.all_processes["raylet"]
    }
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if words.startswith(b"ray::_Worker.clean") and parent in raylets:
            found.append(int(place.name))
    return found


def lines(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()[1:]] if manifest.exists() else []


def wait_until(true, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_same_sound(path: Path, expected: Path) -> None:
    (found, rate), (wanted, true_rate) = (soundfile.read(each, dtype="int16") for each in (path, expected))
    assert rate == true_rate
    np.testing.assert_array_equal(found, wanted)


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(nodes, folder: Path, tmp_path: Path) -> None:
    line = command("denoise", folder, "-o", tmp_path, "--ray", nodes.address, "--model", "denoise-small", "--json")
    with subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        for done in (1, 4):  # twice, each time somebody else
            wait_until(lambda done=done: len(lines(tmp_path / NAME)) >= done and workers(nodes))
            os.kill(workers(nodes)[0], signal.SIGKILL)
        said, complaints = run.communicate(timeout=300)
    assert run.returncode == 0, complaints
    assert complaints == f"{FILES} of {FILES} files are done, {FILES * SECONDS + sum(range(FILES)):.0f} s of sound.\n"
    results = lines(tmp_path / NAME)
    assert sorted(Path(each["source"]).name for each in results) == sorted(f"{n}.wav" for n in range(FILES))
    assert {each["status"] for each in results} <= {"done", "existed"} and max(
        each["attempts"] for each in results
    ) == 2
    assert len(json.loads(said)) == FILES
    assert {path.name for path in tmp_path.iterdir()} == {NAME, *(f"{n}.denoised.wav" for n in range(FILES))}
    model = load("denoise-small", "compiled")
    for number in range(FILES):
        enhance_file(folder / f"{number}.wav", tmp_path / "expected.wav", model, overwrite=True)
        assert_same_sound(tmp_path / f"{number}.denoised.wav", tmp_path / "expected.wav")


def test_a_killed_run_goes_on_where_it_was(nodes, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"nothing")
    line = command("denoise", folder, bad, "-o", out, "--ray", nodes.address, "--model", "denoise-small", "-q")
    with subprocess.Popen(line, env=environment(), stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: len(lines(out / NAME)) >= 3)
        run.kill()
    before = {
        Path(each["target"]): os.stat(each["target"]).st_mtime_ns for each in lines(out / NAME) if not each["error"]
    }
    again = spawn(*line[3:], text=True)
    assert again.returncode == 2
    assert_one_sentence(again, "bad.wav")
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    done = [each["source"] for each in lines(out / NAME) if each["status"] != "failed"]
    assert len(done) == len(set(done)) == FILES
    bad.unlink()
    sound(bad)
    assert spawn(*line[3:]).returncode == 0  # only that one is left
    assert len([each for each in lines(out / NAME) if each["status"] != "failed"]) == FILES + 1


def test_addresses_of_fsspec_go_in_and_out(nodes, folder: Path, tmp_path: Path) -> None:
    out, manifest = f"file://{tmp_path}/clean", tmp_path / "m"
    words = ("denoise", f"file://{folder}/0.wav", "-o", out, "--ray", nodes.address, "--model", "denoise-small")
    refused = spawn(*words, text=True)
    assert refused.returncode == 2
    assert_one_sentence(refused, "--manifest")
    assert spawn(*words, "--manifest", manifest).returncode == 0
    enhance_file(folder / "0.wav", tmp_path / "expected.wav", load("denoise-small", "compiled"))
    assert_same_sound(tmp_path / "clean" / "0.denoised.wav", tmp_path / "expected.wav")


def test_a_file_that_ends_its_workers_is_given_up(nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def ready(self) -> None:
            pass

        def clean(self, item: Item) -> Any:
            from rtsep.batch.manifest import Result

            if item.source == "bad":
                os.kill(os.getpid(), signal.SIGKILL)
            return Result(item.source, item.target, "done")

    monkeypatch.setattr(ray_pool, "_Worker", Worker)
    with cluster(nodes.address) as there:
        found = list(RayPool(there, 2, ()).run([Item(name, "") for name in ("a", "bad", "b", "c")]))
    assert sorted(result.source for result in found) == ["a", "b", "bad", "c"]
    results = {result.source: result for result in found}
    assert results["bad"].attempts == 3 and "ended early, 3 times" in str(results["bad"].error)
    assert all(results[name].error is None for name in "abc")


def test_a_worker_that_cannot_start_is_one_sentence(nodes) -> None:
    with cluster(nodes.address) as there, pytest.raises(RtsepError, match=r"No worker can be started.*no_such_model"):
        list(RayPool(there, 2, ("no_such_model.onnx", None, False)).run([Item("a", "b")]))


def test_a_cluster_that_is_not_there_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    done = spawn("denoise", folder, "-o", tmp_path, "--ray", "127.0.0.1:1", text=True)
    assert done.returncode == 1
    assert_one_sentence(done, "127.0.0.1:1")
    for words, what in (((), "-o"), (("-o", tmp_path, "--gate", "20"), "--gate does not go with --ray")):
        refused = spawn("denoise", folder, *words, "--ray", "auto", text=True)
        assert refused.returncode == 2
        assert_one_sentence(refused, what)


def test_without_ray_there_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    refused = spawn("denoise", "s3://bucket/talks", "-o", tmp_path, text=True)
    assert refused.returncode == 2
    assert_one_sentence(refused, "--ray")
