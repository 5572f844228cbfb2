"""The nodes that come with visionweave, a family each; `visionweave nodes` lists them.

A family of one file is a file; one that wraps a model is a folder: `nodes.py` holds the node
classes, `net.py` and `…_net.py` the networks, which alone import torch at their top. A file imports
the engine absolutely, its own family and what families share (`_paint`, `_regions`,
`_transformers`) relatively, and never another family. A new node goes into its family and into the
table of entry points in `pyproject.toml`.
"""
