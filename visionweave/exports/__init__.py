"""Exports: the results of a job in the formats of other tools.

    from visionweave.exports import export_job

    export_job("out", "coco")
    export_job("out", "yolo-seg", "dataset", photos="copy")

A format has a file of its own. Each reads the objects (`objects.py`) that the job has left in its
folder (`results.py`), and writes into a `Place`, which replaces nothing that others wrote.
"""

from visionweave.exports.export import FORMATS, Exported, export_job, write_annotations
from visionweave.exports.objects import JobObjects, PhotoObject, PhotoObjects
from visionweave.exports.results import Output, Results

__all__ = [
    "FORMATS",
    "Exported",
    "JobObjects",
    "Output",
    "PhotoObject",
    "PhotoObjects",
    "Results",
    "export_job",
    "write_annotations",
]
