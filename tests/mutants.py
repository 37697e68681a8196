"""Do the tests notice when code is changed? `python -m tests.mutants [NAME ...]`; `make mutants` does all of them.

cosmic-ray changes one operator, number or branch of a module after the other, in a copy of the checkout, and the tests
that belong to the module run; a mutant that survives is a change that no test sees. Some survivors do the same as
before, so the list is to be read, not to be empty: tests/mutants.md says why those of some modules are left. Exit
code: 0 if all died, 1 if some live, 2 for a name that is not in the list.

For each mutant a process is forked that has the slow imports behind it (torch, pytest), and not yet the module: a
fraction of a second where tests are quick. Tests that need no fixture of a conftest.py say `--noconftest`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).parents[1]
# What is changed, and the tests that should see it. Quick tests only: they run once for each mutant.
CHOSEN = {
    "feedback": ("rtsep/live/feedback_detector.py", "--noconftest tests/live/test_feedback_detector.py"),
    "snr": ("training/losses/snr.py", "--noconftest tests/training/test_snr.py"),
    "si_sdr": ("training/losses/si_sdr.py", "--noconftest tests/training/test_snr.py"),
    "governor": ("rtsep/live/engine/governor.py", "tests/live/test_slack.py -k 'governor or xruns'"),
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
BITS = ("BitAnd", "BitOr", "BitXor", "LShift", "RShift")  # in the place of arithmetic: floats raise TypeError
SECONDS = 300.0  # a test run that takes longer counts as failed: the mutant hangs


def run_tests(tests: str) -> int:
    """pytest's exit code, in a fork of this process; 1 where it hangs or crashes."""
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            os.setsid()
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            import pytest

            code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests.split()]))
        os._exit(code)
    end = time.monotonic() + SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 1
        time.sleep(0.02)


def survivors(module: str, tests: str) -> int:
    """How many mutants of `module`, a path below the working directory, `tests` let live; prints each, and a total."""
    from cosmic_ray.commands import init
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db

    if code := run_tests(tests):
        raise SystemExit(f"The tests of {module} fail as they are (pytest ends with {code}): {tests}")
    file, began = Path(module), time.monotonic()
    lines = file.read_text("utf-8").splitlines()
    alive = count = 0
    with use_db("mutants.sqlite", WorkDB.Mode.create) as database:
        init([file], database, {})
        changes = [item.mutations[0] for item in database.work_items]
    changes = [change for change in changes if not change.operator_name.endswith(BITS)]
    for change in changes:
        operator = get_operator(change.operator_name)(**change.operator_args)
        with use_mutation(file, operator, change.occurrence) as (_, mutated):
            if mutated is None:
                continue
            count += 1
            if run_tests(tests) == 0:
                alive += 1
                row = change.start_pos[0] - 1
                was, now = lines[row].strip(), mutated.splitlines()[row].strip()
                print(f"{module}:{row + 1} {change.operator_name}: {was}  →  {now}", flush=True)
    print(f"{module}: {alive} of {count} mutants live, {time.monotonic() - began:.0f} s", flush=True)
    return alive


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in CHOSEN]:
        print(f"{', '.join(unknown)}: choose among {', '.join(CHOSEN)}.", file=sys.stderr)
        return 2
    found = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "tree")
        shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns(".git", ".venv*", "site", "demo", "__pycache__"))
        for name in names or CHOSEN:
            found |= subprocess.run([sys.executable, __file__, "--here", name], cwd=folder).returncode != 0
    return int(found)


def here(name: str) -> int:
    """Of the copy in the working directory, in a process that has imported nothing of it."""
    module, tests = CHOSEN[name]
    sys.path[0] = os.environ["PYTHONPATH"] = os.getcwd()
    sys.dont_write_bytecode = True  # a mutant may have the size and the second of the one before
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    training = ["torch", "scipy.optimize"] if module.startswith("training") else []
    for slow in ["numba", "hypothesis", "pytest", *training]:
        importlib.import_module(slow)
    return int(survivors(module, tests) > 0)


if __name__ == "__main__":
    sys.exit(here(sys.argv[2]) if sys.argv[1:2] == ["--here"] else main(sys.argv[1:]))
