"""What a run tells of itself while it trains: log.jsonl, TensorBoard events, and a bar or plain lines on stderr."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLogger:
    """The log of one session of a run, in its folder `run`. Use as a context manager.

    `log.jsonl` gets a line an entry and `tensorboard/` the same figures as curves, if package tensorboard is there.
    On a terminal a bar shows step, speed (times real time), loss and time left; elsewhere only entries are printed.
    """

    def __init__(self, run: Path, console: Console):
        self.run, self.console = run, console
        self.writer: SummaryWriter | None = None
        self.bar: Progress | None = None
        self._task: TaskID | None = None
        self._began, self._first = 0.0, 0

    def __enter__(self) -> RunLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()  # else a terminal stays without its cursor after Ctrl-C
        if self.writer:
            self.writer.close()

    def begin(self, step: int) -> None:
        """Steps follow after `step`. Threads begin here: a data worker must have been forked before."""
        self._began, self._first = time.monotonic(), step
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.tell("No TensorBoard events: install the package tensorboard (pip install '.[train]').")
        else:
            # What a cut-off session wrote after its last checkpoint is done again, and shown once.
            self.writer = SummaryWriter(str(self.run / "tensorboard"), purge_step=step + 1)
        if self.console.is_terminal:
            columns = (
                "step {task.fields[step]}",
                "{task.fields[speed]:.1f} × real time",
                "loss {task.fields[loss]:.4f}",
            )
            self.bar = Progress(
                BarColumn(),
                *(TextColumn(column) for column in columns),
                TimeRemainingColumn(),
                console=self.console,
                speed_estimate_period=300,  # s: validations and checkpoints come between steps
            )
            self._task = self.bar.add_task("", total=1.0, step=step, speed=0.0, loss=float("nan"))
            self.bar.start()

    def tell(self, text: str) -> None:
        """A line on the console that stays one line, for whoever reads it in a file."""
        self.console.print(text, soft_wrap=True)

    def speed(self, step: int, seconds: float) -> float:
        """Seconds of audio a second of wall clock since `begin`; `seconds` of audio a step."""
        return (step - self._first) * seconds / max(time.monotonic() - self._began, 1e-9)

    def step(self, step: int, progress: float, seconds: float, loss: float) -> None:
        """After every step: `progress` of the schedule from 0 to 1, `seconds` of audio a step, mean `loss` of late."""
        if self.bar and self._task is not None:
            self.bar.update(self._task, completed=progress, step=step, speed=self.speed(step, seconds), loss=loss)

    def write(self, entry: dict[str, Any]) -> None:
        """Keeps `entry`: a `step`, figures, and groups of figures, which TensorBoard shows as `group/name`."""
        text = json.dumps(entry)
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(text + "\n")
        self.tell(text)
        if self.writer:
            for name, value in entry.items():
                for part, figure in value.items() if isinstance(value, dict) else [("", value)]:
                    self.writer.add_scalar(f"{name}/{part}" if part else f"run/{name}", figure, entry["step"])
            self.writer.flush()
