"""Image encoders that others have made into ONNX already: fetched, checked, made into bundles."""
