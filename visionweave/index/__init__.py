"""An index of photos: their embeddings on the disk, kept up to date, and searched.

It is a folder:

    library.vwindex/index.json               the space of the embeddings, and the files that count
    library.vwindex/vectors-3-0.safetensors  (rows, D) float32, each row of length 1
    library.vwindex/photos-3.jsonl           a photo a line: its file as it was, and its row
    library.vwindex/places-3.safetensors     where those lines begin, and their rows
    library.vwindex/failures.jsonl           the photos that could not be read, in the latest run

No file is changed once it is there: new ones get new names, and `index.json` is replaced last, in
one step. So who reads sees the old index or the new one, and a crash at any moment leaves the old.

Search is exact: every vector is compared. They are mapped into memory, not read, so that an index
larger than the memory works, and one that was read lately is as fast as memory is. Photos with the
same bytes share one row.
"""

from visionweave.index.build import IndexJob, IndexSummary, build_index
from visionweave.index.files import read_manifest
from visionweave.index.left import photos_left
from visionweave.index.library import Match, PhotoIndex, as_hits
from visionweave.index.query import Query, query_words
from visionweave.index.sheet import contact_sheet
from visionweave.index.space import Space

__all__ = [
    "IndexJob",
    "IndexSummary",
    "Match",
    "PhotoIndex",
    "Query",
    "Space",
    "as_hits",
    "build_index",
    "contact_sheet",
    "photos_left",
    "query_words",
    "read_manifest",
]
