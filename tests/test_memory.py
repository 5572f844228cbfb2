"""How much memory there is: the machine's, a container's; and how much a piece of work takes."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from visionweave.memory import Gauge, free_memory, total_memory

MEMINFO = "MemTotal: 16000 kB\nMemFree: 1000 kB\nMemAvailable:   9000 kB\nHugePages_Total: 0\n"
KB = 1024


def system(root: Path, files: dict[str, str]) -> Path:
    """A root with files of a system in it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def new_group(folder: str, limit: str, used: int, inactive: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {inactive}\n",
    }


def old_group(folder: str, limit: int, used: int, inactive: int = 0) -> dict[str, str]:
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"inactive_file 1\ntotal_inactive_file {inactive}\n",
    }


NEW, OLD = "sys/fs/cgroup", "sys/fs/cgroup/memory"
IN_JOB = {"proc/self/cgroup": "0::/batch/job7\n"}
IN_OLD_JOB = {"proc/self/cgroup": "5:cpu:/\n4:memory,hugetlb:/docker/ab12\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "total", "free"),
    [
        pytest.param({}, 16000 * KB, 9000 * KB, id="no groups"),
        pytest.param(IN_JOB, 16000 * KB, 9000 * KB, id="a group without a limit"),
        pytest.param(
            IN_JOB | new_group(f"{NEW}/batch/job7", "max", 5),
            16000 * KB,
            9000 * KB,
            id="a limit that is none",
        ),
        pytest.param(
            IN_JOB | new_group(f"{NEW}/batch/job7", "4000000", 3000000, 500000),
            4_000_000,
            1_500_000,
            id="a limit; files that would be dropped count as free",
        ),
        pytest.param(
            IN_JOB
            | new_group(f"{NEW}/batch/job7", "4000000", 1000000)
            | new_group(f"{NEW}/batch", "5000000", 4900000),
            4_000_000,
            100_000,
            id="the limit of a group around it",
        ),
        pytest.param(
            IN_JOB | new_group(NEW, "3000000", 1000000),
            3_000_000,
            2_000_000,
            id="inside a container, whose path is that of the outside",
        ),
        pytest.param(
            IN_OLD_JOB | old_group(f"{OLD}/docker/ab12", 2_000_000, 1_500_000, 100_000),
            2_000_000,
            600_000,
            id="the first version of groups",
        ),
        pytest.param(
            IN_OLD_JOB | old_group(OLD, 9223372036854771712, 1_500_000),
            16000 * KB,
            9000 * KB,
            id="no limit in the first version",
        ),
        pytest.param(
            IN_JOB | new_group(NEW, "3000000", 5000000), 3_000_000, 0, id="over the limit"
        ),
    ],
)
def test_memory_is_what_the_system_has_and_the_groups_leave(
    tmp_path: Path, files: dict[str, str], total: int, free: int
) -> None:
    root = system(tmp_path, {"proc/meminfo": MEMINFO} | files)
    assert (total_memory("cpu", root), free_memory("cpu", root)) == (total, free)


def test_where_there_is_no_proc_what_is_free_is_not_known(tmp_path: Path) -> None:
    assert free_memory("cpu", tmp_path) is None
    assert (total_memory("cpu", tmp_path) or 1) > 0


def test_a_device_that_is_neither_is_not_known() -> None:
    assert (total_memory("mps"), free_memory("mps")) == (None, None)
    gauge = Gauge("mps")
    gauge.start()
    assert gauge.stop()[1] is None


LINUX = pytest.mark.skipif(free_memory() is None, reason="the system does not tell")


def in_a_process(work: str) -> list[int | None]:
    """What `taken` is after some lines of Python in a process of their own.

    A gauge measures the whole process, and this one has threads and garbage of other tests.
    """
    lines = "import json, numpy as np\nfrom visionweave.memory import Gauge\ngauge = Gauge('cpu')\n"
    code = f"{lines}taken = []\n{work}\nprint(json.dumps(taken))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[int | None] = json.loads(done.stdout)
    return found


@LINUX
def test_a_gauge_tells_the_peak_and_not_what_is_left() -> None:
    (taken,) = in_a_process(
        "gauge.start()\n"
        "for _ in range(2):\n"
        "    np.ones(40_000_000, np.uint8)\n"
        "seconds, most = gauge.stop()\n"
        "assert seconds > 0\n"
        "taken.append(most)"
    )
    if taken is not None:  # not every system lets a process reset its peak
        assert 35_000_000 < taken < 75_000_000


@LINUX
def test_afresh_a_gauge_counts_what_was_kept_from_earlier_work() -> None:
    taken = in_a_process(
        "for _ in range(3):\n"
        "    gauge.start(afresh=True)\n"
        "    held = [bytes(50_000) for _ in range(600)]  # too small to be given back at once\n"
        "    taken.append(gauge.stop()[1])\n"
        "    del held"
    )
    if platform.libc_ver()[0] == "glibc" and None not in taken:
        assert min(each or 0 for each in taken) > 20_000_000
