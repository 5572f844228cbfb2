"""The nodes that come with visionweave, one file per family; `visionweave nodes` lists them.

A file imports the engine absolutely and its own helpers (with a leading underscore) relatively, and
never another family. A new node goes into the file of its family and into the table of entry points
in `pyproject.toml`.
"""
