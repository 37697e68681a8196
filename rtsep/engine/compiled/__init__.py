"""The step graph compiled: ONNX in, records of a few fast kernels out, run without Python (see `program`)."""
