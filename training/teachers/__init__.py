"""Models of others that training may learn from: what they make of a mixture, aligned with it, all frames at once."""

from training.teachers.committee import Committee
from training.teachers.deepfilternet3 import DeepFilterNet3
from training.teachers.dtln import DTLN
from training.teachers.teacher import Teacher

TEACHERS: dict[str, type[Teacher]] = {"deepfilternet3": DeepFilterNet3, "dtln": DTLN, "committee": Committee}

__all__ = ["TEACHERS", "Teacher"]
