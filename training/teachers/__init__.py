"""Models of others that training may learn from: what they make of a mixture, aligned with it, all frames at once."""

from training.teachers.deepfilternet3 import DeepFilterNet3
from training.teachers.teacher import Teacher

TEACHERS: dict[str, type[Teacher]] = {"deepfilternet3": DeepFilterNet3}

__all__ = ["TEACHERS", "Teacher"]
