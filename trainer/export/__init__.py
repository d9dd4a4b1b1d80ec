"""Export of a trained model: ONNX graphs, precisions, members of the bundle."""
