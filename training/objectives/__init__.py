"""Losses, one a file, each citing its paper."""

from training.objectives.objective import Objective, ObjectiveSpec
from training.objectives.songs import SongObjective, SongObjectiveSpec

__all__ = ["Objective", "ObjectiveSpec", "SongObjective", "SongObjectiveSpec"]
