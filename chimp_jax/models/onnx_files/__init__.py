"""Models as files for other engines: ONNX graphs, in float32 and in int8."""
