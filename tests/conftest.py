"""Fixtures that several test files share: tiny real models on disk."""

from __future__ import annotations

import functools
import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Before numpy and torch are imported, here and in programs that the tests start: on a busy machine threads that wait
# for each other cost ten times what they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Models that the person who runs the tests has added are not seen, by programs that are started neither.
os.environ["XDG_DATA_HOME"] = str(Path(__file__).parent / "data" / "nothing-added")

import pytest
from graphs import Network
from hypothesis import HealthCheck, settings

import rtsep

# Run in the background of a script, this process ignores Ctrl-C and so would every program that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines that build are slow and shared: a deadline an example would only measure them.
settings.register_profile("rtsep", deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", parent=settings.get_profile("rtsep"), max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "rtsep"))


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what `make quick` leaves out: tests of files that import `servers`, of training and of benchmarks.

    And groups for `pytest -n 2 --dist loadgroup`: a file stays in one process, for the sake of its fixtures, and so do
    all files with sound servers, which would disturb each other.
    """
    for item in items:
        place = item.path.relative_to(Path(__file__).parent)
        servers = _uses_servers(item.path)
        item.add_marker(pytest.mark.xdist_group("servers" if servers else str(place.with_suffix(""))))
        if servers:
            # What goes wrong once here is a machine that stood still for seconds; the summary names what was run again.
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))
        if place.parts[0] in ("training", "benchmarks"):
            item.add_marker("training")
        elif servers:
            item.add_marker("servers")
    if hasattr(config, "workerinput"):
        _sort(items)


def _sort(items: list[pytest.Item]) -> None:
    """In a process of several: what takes long first, then the groups by size, so that all end at the same time."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        (group,) = item.get_closest_marker("xdist_group").args  # type: ignore[union-attr]
        groups.setdefault(group, []).append(item)

    def place(group: list[pytest.Item]) -> tuple[bool, int]:
        marks = {mark.name for item in group for mark in item.iter_markers()}
        return not marks & {"long", "servers", "training"}, -len(group)

    items[:] = [item for group in sorted(groups.values(), key=place) for item in group]


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: no collection of garbage scans it, not even pytest's own at the end."""
    gc.collect()
    gc.freeze()


@functools.cache
def _uses_servers(file: Path) -> bool:
    return re.search(r"^\s*from (tests\.live\.)?servers import", file.read_text("utf-8"), re.MULTILINE) is not None


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., rtsep.Model]:
    """``models(network, form="step", **metadata)``: the network written to disk and loaded, once a session each."""
    folder = tmp_path_factory.mktemp("models")
    loaded: dict[str, rtsep.Model] = {}

    def model(network: Network, form: str = "step", /, **overrides: str | None) -> rtsep.Model:
        key = repr((network, form, sorted(overrides.items())))
        if key not in loaded:
            loaded[key] = rtsep.load(network.save(folder / f"{len(loaded)}.onnx", form, **overrides))
        return loaded[key]

    return model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mono 48 kHz model of speech and noise with random weights."""
    return Network().save(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="session")
def identity_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mono 48 kHz model whose speech is the input, and whose noise is silence."""
    return Network(identity=True).save(tmp_path_factory.mktemp("identity") / "identity.onnx")


@pytest.fixture(scope="session")
def stereo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stereo 44.1 kHz model of vocals and accompaniment with random weights; its target is the accompaniment."""
    network = Network(channels=2, sample_rate=44100, sources=("accompaniment", "vocals"))
    return network.save(tmp_path_factory.mktemp("stereo") / "stereo.onnx")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def exact_small_numbers() -> Iterator[None]:
    """Training flushes denormals to zero, in this process too where a test calls it; hypothesis needs them."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
