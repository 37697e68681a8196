"""Values that no sample and no state may have."""

from __future__ import annotations

import numpy as np

LIMIT = 8.0  # full scale is 1; beyond this a sample is a fault, and a network must not see it
# Below -300 dB there is no sound, only the way down to denormals, which slow some processors a hundredfold. Values that
# live on are cut here, because onnxruntime's own switch changes the arithmetic of the thread that loads, for good, and
# of no other thread.
TINY = np.float32(1e-15)
