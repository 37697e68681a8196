"""Training, resuming and exporting, end to end on the tiny manifest."""

from __future__ import annotations

import io
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from rich.console import Console

import rtsep
from rtsep.errors import RtsepError
from tests.training.program import call, spawn
from tests.training.tiny import RECIPE, SMALL, TINY
from training import export as exporting
from training import train
from training.checkpoints import exclusive_lock
from training.export import difference, export, load_checkpoint
from training.recipe import parse_recipe, read_recipe
from training.train import check_finite, learning_rate, without_beginning


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after a few steps."""
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    done = call(train.main, recipe, "--run", folder / "run", "--data", TINY, "--threads", 1, "--every", 3)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_keeps_what_it_was_made_of(trained: Path) -> None:
    about = json.loads((trained / "about.json").read_text())
    assert about["data"] and about["revision"]
    entries = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [3, 6]  # the last once, though it is a third one as well
    assert entries[-1]["step"] == 6 and entries[-1]["hours"] == pytest.approx(6 * 2 * 1.28 / 3600, abs=1e-3)
    network, recipe, state = load_checkpoint(trained / "checkpoint.pt")
    assert recipe.name == "tiny" and network.spec == SMALL
    assert "kathleen" in state["trained_on"] and "esc-4" not in state["trained_on"]
    losses = [entry["valid"]["loss"] for entry in entries]
    assert load_checkpoint(trained / "best.pt")[2]["scores"]["loss"] == pytest.approx(min(losses), abs=1e-5)


def test_a_run_that_is_being_trained_is_left_alone(trained: Path) -> None:
    before = {file.name: file.read_bytes() for file in trained.iterdir() if file.is_file()}
    with exclusive_lock(trained):
        done = call(train.main, trained / "recipe.yaml", "--run", trained, "--data", TINY)
    assert done.returncode == 2 and "Another process is training in" in done.stderr
    assert {file.name: file.read_bytes() for file in trained.iterdir() if file.is_file()} == before


def test_a_larger_network_begins_from_a_checkpoint(trained: Path, tmp_path: Path) -> None:
    """With an activity head and more hidden channels; the hours of both runs count, and the export says so."""
    changes = [
        "network.activity=true",
        "network.hidden=20",
        "losses+={loss: activity, weight: 0.1}",
        "training.hours=0.002",
    ]
    words = [word for change in changes for word in ("--set", change)]
    begin = trained / "checkpoint.pt"
    done = call(train.main, trained / "recipe.yaml", "--run", tmp_path, "--data", TINY, "--begin", begin, *words)
    assert done.returncode == 0, done.stderr
    export(tmp_path / "checkpoint.pt", tmp_path / "grown.onnx")
    model = rtsep.load(tmp_path / "grown.onnx")
    assert model.spec.activity and model.spec.hidden == 20
    assert "9 steps" in model.spec.trained_on  # 6 and 3
    refused = call(
        train.main, trained / "recipe.yaml", "--run", tmp_path / "b", "--data", TINY, "--begin", begin,
        "--set", "network.hidden=8",
    )  # fmt: skip
    assert refused.returncode == 2 and "does not fit" in refused.stderr and not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "changes", [(), ("network.separator=slow_fast", "network.slow_channels=8", "training.carried_share=0.5")]
)
def test_a_run_goes_on_from_its_checkpoint(changes: tuple[str, ...], tmp_path: Path) -> None:
    """Stopped after 3 steps and started again for 6, or 6 in one go: the same weights, to the bit."""
    recipe = tmp_path / "tiny.yaml"
    # A flat learning rate: the schedule's end must not depend on where the run was cut.
    recipe.write_text(RECIPE.replace("warmup_steps: 2", "warmup_steps: 2, decay_share: 1.0e-9"), encoding="utf-8")
    changed = [word for change in changes for word in ("--set", change)]
    begin = ["--data", TINY, "--threads", 1, *changed, "--set", "training.hours=0.002"]
    done = spawn("training.train", recipe, "--run", tmp_path / "cut", *begin)  # what goes on has its files only
    assert done.returncode == 0, done.stderr
    for folder in ("cut", "whole"):
        done = call(train.main, recipe, "--run", tmp_path / folder, "--data", TINY, *changed)
        assert done.returncode == 0, done.stderr
        assert ("Going on from step 3" in done.stderr) == (folder == "cut")
    one, two = (torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True) for folder in ("cut", "whole"))
    assert one["step"] == two["step"] == 6
    for name, weight in one["weights"].items():
        assert torch.equal(weight, two["weights"][name]), name


def test_export_writes_both_forms_of_one_network(trained: Path, tmp_path: Path) -> None:
    step, flat = export(trained / "checkpoint.pt", tmp_path / "tiny.onnx")
    network, _, _ = load_checkpoint(trained / "checkpoint.pt")
    for file in (step, flat):
        assert difference(network, file, 1.0) < 1e-4
    specs = [rtsep.load(file).spec for file in (step, flat)]
    assert [spec.form for spec in specs] == ["step", "flat"]
    assert specs[0].target == "speech" and specs[0].algorithmic_latency == 256
    assert yaml_of(specs[0].recipe) == yaml_of(RECIPE)


def yaml_of(text: str) -> dict:
    import yaml

    return yaml.safe_load(text)


def test_a_bad_export_replaces_nothing(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, flat = export(trained / "checkpoint.pt", tmp_path / "tiny.onnx")
    before = step.read_bytes(), flat.read_bytes()
    errors = iter((0.0, 1.0))  # the step form passes its check, the flat one does not
    monkeypatch.setattr(exporting, "difference", lambda *_: next(errors))
    with pytest.raises(ValueError, match="flat graph differs"):
        export(trained / "checkpoint.pt", step, version="2")
    assert (step.read_bytes(), flat.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.flat.onnx", "tiny.onnx"]


def test_the_stream_is_the_network_for_two_minutes(trained: Path, tmp_path: Path) -> None:
    """120 s in blocks of any size against the sequence form in torch: 1e-4, and no worse at the end."""
    step, _ = export(trained / "checkpoint.pt", tmp_path / "tiny.onnx")
    network, _, _ = load_checkpoint(trained / "checkpoint.pt")
    rng = np.random.default_rng(0)
    samples = 120 * 48000 // 128 * 128
    envelope = 10 ** (np.interp(np.arange(samples), np.linspace(0, samples, 200), rng.uniform(-60, -10, 200)) / 20)
    wave = (rng.standard_normal(samples) * envelope).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(wave)[None])[0, 0].numpy()
    stream = rtsep.load(step).stream()
    blocks = np.cumsum(rng.integers(1, 20000, 2000))
    pieces = [stream.process(block) for block in np.split(wave, blocks[blocks < samples])]
    streamed = np.concatenate([*pieces, stream.flush()])[stream.latency :]
    error = np.abs(streamed - expected)
    assert error.max() < 1e-4
    assert error[-48000:].max() < 1e-4


@pytest.mark.parametrize("network", ["sources: [speech], norm: batch", "masks: sum_to_one, consistency: true"])
def test_variants_train_and_export(network: str, tmp_path: Path) -> None:
    """K = 1, and masks that sum to one, with a perceptual loss from half of the schedule on; then both files."""
    proxy = "pesq_proxy" if "speech" in network else "metricgan"
    recipe = tmp_path / "variant.yaml"
    text = RECIPE.replace("network: {", f"network: {{{network}, ")
    text = text.replace("losses:\n", f"losses:\n  - {{loss: {proxy}, of: speech, weight: 0.02, from: 0.5}}\n")
    if "speech" in network:
        text = text.replace("  - {loss: snr, of: noise, weight: 0.03}\n", "")
    recipe.write_text(text, encoding="utf-8")
    done = call(train.main, recipe, "--run", tmp_path / "run", "--data", TINY)
    assert done.returncode == 0, done.stderr
    entry = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert entry["train"][f"{proxy} speech"] > 0 and entry["valid"][f"{proxy} speech"] > 0
    for file in export(tmp_path / "run" / "checkpoint.pt", tmp_path / "variant.onnx"):
        assert rtsep.load(file).spec.sources == tuple(parse_recipe(text).network.sources)


def test_bad_calls_get_one_sentence(tmp_path: Path, recipe_file: Path) -> None:
    nothing = call(train.main, recipe_file, "--run", tmp_path / "run")
    assert nothing.returncode == 2 and "No recordings" in nothing.stderr and "Traceback" not in nothing.stderr
    speech = call(train.main, recipe_file, "--run", tmp_path / "run", "--speech", TINY.parent / "speech16")
    assert speech.returncode == 2 and "no noise" in speech.stderr and "Traceback" not in speech.stderr
    dataset = call(train.main, recipe_file, "--run", tmp_path / "run", "--dataset", f"musan={tmp_path}")
    assert dataset.returncode == 2 and dataset.stderr.startswith(f"{tmp_path} has no folder")
    assert dataset.stderr.count("\n") == 1 and not dataset.stderr.endswith("..\n")
    assert not (tmp_path / "run").exists()
    missing = call(exporting.main, tmp_path / "no.pt", tmp_path / "out.onnx")
    assert missing.returncode == 2 and "no checkpoint" in missing.stderr and "Traceback" not in missing.stderr
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    bad = call(exporting.main, tmp_path / "bad.pt", tmp_path / "out.onnx")
    assert bad.returncode == 2 and "not a checkpoint" in bad.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_the_beginning_of_a_piece_does_not_count(tmp_path: Path, recipe_file: Path) -> None:
    """Waveforms, activity and trunk lose the same hops, and a run with `loss_skip_seconds` trains."""
    sound, heard = torch.arange(1280.0).expand(2, 3, 1280), torch.arange(10.0)[None, :, None]
    known = torch.arange(11.0)[None, :, None]
    estimate, sources, activity, trunk = without_beginning(sound, sound + 1, heard, known, 4, 128)
    assert estimate[0, 0, 0] == 512 and sources[0, 0, 0] == 513 and activity[0, 0, 0] == 4
    assert estimate.shape[-1] == 768 and activity.shape[1] == 6 and trunk.flatten().tolist() == list(range(4, 11))
    with pytest.raises(ValueError, match="loss_skip_seconds"):
        read_recipe(recipe_file, ["training.loss_skip_seconds=1.28"])
    words = ["--run", tmp_path, "--data", TINY, "--set", "training.loss_skip_seconds=0.4"]
    done = call(train.main, recipe_file, *words)
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(entry["train"]["loss"]) for entry in entries)


def test_learning_rate(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file, ["training.warmup_steps=10", "training.decay_share=0.5"])
    assert learning_rate(recipe, 0, 0.0) == pytest.approx(1e-3)
    assert learning_rate(recipe, 50, 0.3) == pytest.approx(1e-2)
    assert learning_rate(recipe, 50, 0.75) == pytest.approx(5e-3)
    assert learning_rate(recipe, 50, 1.0) == 0


def test_a_loss_that_is_no_number_ends_the_run(trained: Path, tmp_path: Path) -> None:
    """One sentence, exit code 1, and the checkpoint before it is as good as it was."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    before = (folder / "checkpoint.pt").read_bytes()
    words = ["--run", folder, "--data", TINY, "--set", "training.hours=0.02", "--every", 3]
    rate = ["--set", "training.learning_rate=1e30", "--set", "training.clip=1e30"]
    done = call(train.main, trained / "recipe.yaml", *words, *rate)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("Stopped at step") and "the checkpoint of step 6 is kept" in said
    assert (folder / "checkpoint.pt").read_bytes() == before
    check_finite({"loss": 1.0}, 5, 0, stuck=49)
    with pytest.raises(RtsepError, match="50 gradients"):
        check_finite({"loss": 1.0}, 5, 0, stuck=50)


def test_a_cut_checkpoint_is_one_sentence(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    whole = (folder / "checkpoint.pt").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense"):
        (folder / "checkpoint.pt").write_bytes(content)
        with pytest.raises(typer.Exit) as ended:
            train.main(trained / "recipe.yaml", folder, TINY)
        said = capsys.readouterr().err
        assert ended.value.exit_code == 2 and "checkpoint.pt is cut or no checkpoint" in said and "best.pt" in said
        assert (folder / "checkpoint.pt").read_bytes() == content


def test_a_full_disk_keeps_the_last_checkpoint(trained: Path, tmp_path: Path) -> None:
    """No file may grow beyond 1.5 MB, as on a disk that is full: a checkpoint is larger, log and batches are not."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    before = {name: (folder / name).read_bytes() for name in ("checkpoint.pt", "best.pt")}
    words = [trained / "recipe.yaml", "--run", folder, "--data", TINY, "--threads", 1, "--set", "training.hours=0.005"]
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, most))
    try:
        done = call(train.main, *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "cannot be written" in done.stderr and "the checkpoint before it is kept" in done.stderr
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not list(folder.glob("*.partial"))


def test_recordings_that_are_too_short_are_one_sentence(
    tmp_path: Path, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A valid file shorter than half a second, though there is one; and no folder is left of what was not begun."""
    for kind, seconds in (("speech", 0.2), ("noise", 2.0)):
        (tmp_path / kind).mkdir()
        for index, length in enumerate((2.0, seconds)):  # the last by name is the valid one
            sound = np.random.default_rng(index).standard_normal(int(48000 * length)) * 0.1
            soundfile.write(tmp_path / kind / f"{index}.wav", sound, 48000)
    with pytest.raises(typer.Exit) as ended:
        train.main(recipe_file, tmp_path / "run", speech=[tmp_path / "speech"], noise=[tmp_path / "noise"])
    assert ended.value.exit_code == 2
    assert "No speech of the valid split is half a second long" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_training_says_that_it_compiles(recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it does: the first steps would be minutes of silence. Compiling itself is left out here."""
    compiled: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(type(module).__name__) or module)
    told = io.StringIO()
    monkeypatch.setattr(train, "console", Console(file=told, width=100))
    train.main(recipe_file, tmp_path / "run", TINY, threads=torch.get_num_threads(), change=["training.compile=true"])
    assert compiled == ["Learner", "Objective"]
    first, *rest = told.getvalue().splitlines()
    assert first == "Compiling the network and its losses: the first steps take some minutes." and len(rest) == 1
