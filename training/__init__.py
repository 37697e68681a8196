"""The workshop: data, network, objectives, training, export. Needs torch (extra `train`); users of rtsep do not."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything here imports onnxruntime, see rtsep/__init__.py
