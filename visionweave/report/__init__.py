"""A report of a job: a folder with a page that opens from the disk, without network or server.

    out/report/index.html                the page, with report.css and its scripts
    out/report/job.js                    what is known of the job
    out/report/data/4f/4f1c….js          what the grid knows of some hundred photos
    out/report/photos/9a/9a03….js        what is read when a photo is opened
    out/report/thumbnails/…  meshes/…    pictures, and geometry for the viewer
    out/report/kept.jsonl                what the next making of the report goes on from

Files are named by keys of what is in them: making the report again writes only what has changed.
Cutouts and other pictures are not copied; the page shows the job's own files.
"""

from visionweave.report.build import Report, build_report

__all__ = ["Report", "build_report"]
