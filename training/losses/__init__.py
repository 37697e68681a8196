"""Losses, one a file, each citing its paper."""

from training.losses.objective import Objective, ObjectiveSpec
from training.losses.songs import SongObjective, SongObjectiveSpec

__all__ = ["Objective", "ObjectiveSpec", "SongObjective", "SongObjectiveSpec"]
