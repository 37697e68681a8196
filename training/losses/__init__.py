"""Losses, one a file, each citing its paper. See `loss` for what one is, `catalogue` for their names in recipes."""

from training.losses.catalogue import LOSSES
from training.losses.loss import Setup
from training.losses.objective import Objective
from training.losses.spec import LossSpec, read_losses

__all__ = ["LOSSES", "LossSpec", "Objective", "Setup", "read_losses"]
