"""Execution providers of ONNX Runtime: which there are, which of them work here, their options."""
