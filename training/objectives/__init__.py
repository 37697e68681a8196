"""Losses, one a file, each citing its paper."""

from training.objectives.objective import Objective, ObjectiveSpec

__all__ = ["Objective", "ObjectiveSpec"]
