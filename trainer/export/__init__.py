"""From torch to a bundle: ONNX graphs, precisions, members."""
