"""What recipes are about, one task a file; see `task` for what a task is."""

from training.tasks.songs import SongTask
from training.tasks.speech import SpeechTask
from training.tasks.task import ExampleStream, Task

TASKS: dict[str, type[Task]] = {"speech": SpeechTask, "songs": SongTask}

__all__ = ["TASKS", "ExampleStream", "Task"]
