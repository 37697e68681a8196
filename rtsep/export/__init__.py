"""Models for other hosts than rtsep: one graph for any ONNX runtime, PipeWire's filter chain, a page in the browser."""
