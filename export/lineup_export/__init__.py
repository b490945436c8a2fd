"""Turns torch models into bundles of ONNX graphs that were checked against a reference."""
