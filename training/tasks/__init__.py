"""What recipes are about, one task a file; see `task` for what a task is."""

from training.tasks.events import EventsTask, WeakEventsTask
from training.tasks.informed_songs import InformedSongsTask
from training.tasks.instruments import InstrumentsTask
from training.tasks.noisy_targets import NoisyTargetsTask
from training.tasks.songs import SongTask
from training.tasks.speakers import SpeakersTask, UnknownSpeakersTask
from training.tasks.speech import SpeechTask
from training.tasks.task import ExampleStream, Task
from training.tasks.taught_speech import TaughtSpeechTask
from training.tasks.unlabelled import MixturesTask, UnlabelledTask

TASKS: dict[str, type[Task]] = {
    "speech": SpeechTask,
    "songs": SongTask,
    "speakers": SpeakersTask,
    "unknown_speakers": UnknownSpeakersTask,
    "events": EventsTask,
    "weak_events": WeakEventsTask,
    "unlabelled": UnlabelledTask,
    "mixtures": MixturesTask,
    "noisy_targets": NoisyTargetsTask,
    "informed_songs": InformedSongsTask,
    "taught_speech": TaughtSpeechTask,
    "instruments": InstrumentsTask,
}

__all__ = ["TASKS", "ExampleStream", "Task"]
