"""Do the tests notice when code is changed? `python -m tests.mutants [NAME ...]`; `make mutants` does all of them.

cosmic-ray changes one operator, number or branch of a module after the other, in a copy of the checkout, and runs the
tests that belong to it; a mutant that survives is a change that no test sees. Some survivors do the same as before, so
the list is to be read, not to be empty. Exit code: 0 if all died, 1 if some live, 2 for a name that is not in the list.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(__file__).parents[1]
# What is changed, and the tests that should see it. Quick tests only: they run once for each mutant.
CHOSEN = {
    "governor": ("rtsep/live/engine/governor.py", "tests/live/test_slack.py -k 'governor or xruns'"),
    "feedback": ("rtsep/live/feedback_detector.py", "tests/live/test_parts.py -k 'feedback or beep'"),
    "average": ("training/weight_ema.py", "tests/training/test_weight_ema.py"),
    "objective": (
        "training/losses/objective.py",
        "tests/training/test_objectives.py tests/training/test_song_losses.py",
    ),
    "estoi": (
        "training/losses/one_minus_estoi.py",
        "tests/training/test_objectives.py tests/training/test_recipe_migration.py",
    ),
    "mixer": ("training/data/speech_mixer.py", "tests/training/test_mixing_effects.py tests/training/test_data.py"),
}
SECONDS = 300.0  # a test run that takes longer counts as failed: the mutant hangs


def survivors(folder: Path, module: str, tests: str) -> list[str]:
    """The mutants of `module` in the copy `folder` that `tests` let live, one line each."""
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {tests}"
    settings = {"module-path": module, "timeout": SECONDS, "excluded-modules": [], "test-command": command}
    lines = ["[cosmic-ray]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    (folder / "mutants.toml").write_text("\n".join([*lines, "[cosmic-ray.distributor]", 'name = "local"', ""]))

    def cosmic_ray(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "cosmic_ray.cli", *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout

    session = "mutants.sqlite"
    cosmic_ray("baseline", "mutants.toml")  # the tests pass as they are
    cosmic_ray("init", "mutants.toml", session, "--force")
    cosmic_ray("exec", "mutants.toml", session)
    found = []
    for line in cosmic_ray("dump", session).splitlines():
        item, result = json.loads(line)
        if result and result["test_outcome"] == "survived":
            mutation = item["mutations"][0]
            row, column = mutation["start_pos"]
            found.append(f"{module}:{row}:{column} {mutation['operator_name']} #{mutation['occurrence']}")
    return found


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in CHOSEN]:
        print(f"{', '.join(unknown)}: choose among {', '.join(CHOSEN)}.", file=sys.stderr)
        return 2
    alive: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "tree")
        shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns(".git", ".venv*", "site", "demo", "__pycache__"))
        for name in names or CHOSEN:
            found = survivors(folder, *CHOSEN[name])
            print(f"{name}: {len(found)} alive", *found, sep="\n  ", flush=True)
            alive += found
    return int(bool(alive))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
