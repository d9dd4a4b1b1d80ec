"""Limits on the content and the cost of a bundle's graphs, checked on their bytes before a runtime reads them.

A runtime does whatever an ONNX file says: it reads files that are named as external data, loops without an end, and
makes tensors of any size.  So a graph must consist of what :mod:`trainer.export.onnx_graph` writes and of nothing else.
"""
