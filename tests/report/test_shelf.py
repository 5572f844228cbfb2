"""The files of a report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from visionweave.report.shelf import Shelf

THREADS = 4


def test_threads_may_make_one_file_together(tmp_path: Path) -> None:
    """As those do that have photos with the same bytes."""
    shelf, together = Shelf(tmp_path), Barrier(THREADS, timeout=10)

    def make() -> bytes:
        together.wait()  # until all have seen that the file is not there
        return b"thumbnail"

    def put(number: int) -> str:
        return shelf.put("thumbnails", f"{number:020x}", ".jpg", make)

    with ThreadPoolExecutor(THREADS) as pool:
        names = set(pool.map(put, [number for number in range(50) for _ in range(THREADS)]))
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert len(names) == 50
    assert found == {tmp_path / name for name in names}
