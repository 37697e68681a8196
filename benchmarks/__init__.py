"""Programs that print the numbers that the documents state; each prints a table and writes JSON."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything here imports onnxruntime, see rtsep/__init__.py
