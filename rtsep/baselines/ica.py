"""Independent components of two channels, learned while the sound plays; the one nearest to the middle is removed.

Two channels whitened by their running covariance differ from independent components by a rotation. Its angle follows
the natural gradient: Amari, "Natural gradient works efficiently in learning", Neural Computation 10, 1998, in the
form that keeps to rotations, the skew-symmetric half of Cardoso and Laheld's EASI ("Equivariant adaptive source
separation", IEEE TSP 44(12), 1996). A covariance and an angle cannot run away.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rtsep.baselines.spatial import Floats, Spatial
from rtsep.model_spec import ModelSpec

COVARIANCE_S = 3.0  # memory of the covariance
ANGLE_S = 1.0  # time constant of the angle
BLEND_S = 0.05  # a change of mind takes about this long
FLOOR = 1e-3  # part of the energy that both directions have at least: no whitening of what is not there
QUIET = 1e-10  # mean square under which nothing is learned

Matrix = NDArray[np.float64]


def without_middle(unmixing: Matrix) -> Matrix:
    """What removes the component nearest to the middle: [2, 2], left and right in, left and right out.

    ``unmixing`` [2, 2]: rows give the components. A component's direction is its column of the inverse; the rule: the
    one whose direction makes the smallest angle with equal parts of left and right is the voice.
    """
    mixing = np.linalg.inv(unmixing)
    closeness = np.abs(mixing.sum(axis=0)) / np.linalg.norm(mixing, axis=0)
    voice = int(np.argmax(closeness))
    return np.eye(2) - np.outer(mixing[:, voice], unmixing[voice])


class ICA(Spatial):
    """Online two-channel ICA; the removal changes smoothly from hop to hop."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)

        def share(seconds: float) -> float:
            return 1 - math.exp(-spec.hop / (seconds * spec.sample_rate))

        self._covariance_share, self._angle_share, self._blend = share(COVARIANCE_S), share(ANGLE_S), share(BLEND_S)
        self._rise = np.arange(1, spec.hop + 1) / spec.hop
        self.forget()

    def forget(self) -> None:
        """See Spatial.forget."""
        self._covariance: Matrix | None = None
        self._angle = math.pi / 4  # mid and side, when left and right are alike
        self._removal = np.eye(2)

    def remove(self, window: Floats) -> Floats:
        """See Spatial.remove."""
        hop = self.spec.hop
        now = window[:, -hop:].astype(np.float64)
        before = self._removal
        self._removal = before + self._blend * (self._learn(now - window[:, -hop - 1 : -1]) - before)
        made = before @ now + ((self._removal - before) @ now) * self._rise
        return made.astype(np.float32)

    def _learn(self, x: Matrix) -> Matrix:
        """One step on ``x`` [2, hop], differences of samples so that the bass does not decide alone."""
        news = x @ x.T / x.shape[1]
        if not QUIET < np.trace(news) < math.inf:
            return self._removal
        if self._covariance is None:
            self._covariance = news
        self._covariance = self._covariance + self._covariance_share * (news - self._covariance)
        energies, axes = np.linalg.eigh(self._covariance)
        energies = np.maximum(energies, FLOOR * energies[1])
        whiten = (axes / np.sqrt(energies)) @ axes.T
        y = self._rotation() @ whiten @ x
        squashed = np.tanh(y)
        skew = float(squashed[0] @ y[1] - squashed[1] @ y[0]) / x.shape[1]
        self._angle = (self._angle - self._angle_share * max(-1.0, min(1.0, skew))) % (2 * math.pi)
        return without_middle(self._rotation() @ whiten)

    def _rotation(self) -> Matrix:
        c, s = math.cos(self._angle), math.sin(self._angle)
        return np.array([[c, s], [-s, c]])
