"""What a bundle's graphs may hold and cost, decided from their bytes before a runtime sees them.

A runtime does whatever an ONNX file says: it reads files that are named as external data, loops without an end, and
makes tensors of any size.  So a graph must consist of what :mod:`trainer.export.onnx_graph` writes and of nothing else.
"""
