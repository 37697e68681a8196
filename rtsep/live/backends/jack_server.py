"""A private JACK server without a sound card, for measuring and for tests: nobody else hears it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from rtsep.errors import RtsepError
from rtsep.live.engine.processes import set_parent_death_signal


class JackServer:
    """``jackd -S -d dummy`` under a private name; ``with`` starts it and points this process and its children to it.

    Synchronous (-S): the server waits for the clients' callbacks, so a late callback delays sound but loses none.
    period: frames. rate: Hz.
    """

    def __init__(self, period: int = 128, rate: int = 48000, name: str | None = None) -> None:
        self.name = name or f"rtsep_private_{os.getpid()}"
        self.period, self.rate = period, rate

    def start(self) -> JackServer:
        """Raises RtsepError when JACK is not installed or does not start."""
        if not shutil.which("jackd"):
            raise RtsepError("jackd was not found; install it (Debian and Ubuntu: sudo apt install jackd2).")
        command = ["jackd", "-n", self.name, "-R", "-P", "70", "-S", "-d", "dummy"]
        command += ["-r", str(self.rate), "-p", str(self.period), "-C", "2", "-P", "2"]
        for _ in range(3):
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=set_parent_death_signal,
            )
            check = ["jack_wait", "-s", self.name, "-c"]  # -w looks but once a second
            end = time.monotonic() + 10
            while self.process.poll() is None and time.monotonic() < end:
                found = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                if found.stdout.strip() == "running":
                    return self
                time.sleep(0.05)
            self.stop()
        raise RtsepError(f"jackd ended with code {self.process.returncode} before it began.")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> JackServer:
        self._before = {key: os.environ.get(key) for key in ("JACK_DEFAULT_SERVER", "JACK_NO_START_SERVER")}
        os.environ["JACK_DEFAULT_SERVER"], os.environ["JACK_NO_START_SERVER"] = self.name, "1"
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
