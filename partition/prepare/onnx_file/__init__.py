"""Reading of a user's ONNX file: its inputs, outputs and weights, made fit to be cut."""
