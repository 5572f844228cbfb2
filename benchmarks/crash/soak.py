"""Rounds of a job that is killed until it comes to its end, and what must be so after each kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionweave.weights import checkpoint
from visionweave.weights.lock import store_folder
from visionweave.weights.pull import pull
from visionweave.weights.store import folder_of

from .hub import Hub, serving
from .job import FAMILY, MODEL, PHOTOS, make_photos, work
from .store import check_store, has_name, is_whole, made_up, weights, write_list

OWN = ("run.json", "items.jsonl", "failures.jsonl", ".lock")
IN_FLIGHT = 256 << 10
"""Bytes that were on their way when a process was killed, at most: in the system's buffers."""

Files = dict[str, bytes]


def soak(kills: int, seed: int, folder: Path) -> None:
    """Kill so many jobs, a quarter of them while they fetch; print what was seen."""
    model = made_up()
    with serving({f"/{name}": data for name, data in model.items()}) as hub:
        rounds = Rounds(random.Random(seed), folder, hub, model)
        rounds.run_uninterrupted()
        while rounds.kills < kills or rounds.counts["arriving"] < kills / 4:
            rounds.run()
            print(rounds.counted(), flush=True)
    print(rounds.summary())


@dataclass
class Round:
    """How far a round is.

    Attributes:
        changes: whether the pipeline changes half way.
        there: how many bytes of each file of the model are there.
        lines: the lines of the journal.
        fetching: the kills before all of the model was there; `arriving` of them hit a file.
        running: the kills after that.
    """

    changes: bool
    there: dict[str, int]
    lines: int = 0
    fetching: int = 0
    arriving: int = 0
    running: int = 0

    @property
    def more(self) -> int:
        """Which of the pipelines is run now."""
        return int(self.changes and self.running >= 3)


class Rounds:
    """The rounds, and what was counted in them.

    Attributes:
        counts: the kills by what they hit: a file that was "arriving", photos whose files were in
            "writing", or neither, "else".
        jobs: how many came to their end.
        resumed: how many requests went on behind what was there.
        most: the most bytes that were sent again in a round.
    """

    def __init__(self, dice: random.Random, folder: Path, hub: Hub, model: Files) -> None:
        self.dice, self.folder, self.hub, self.model = dice, folder, hub, model
        self.counts: Counter[str] = Counter()
        self.jobs = self.resumed = self.most = 0

    @property
    def kills(self) -> int:
        return self.counts.total()

    def run_uninterrupted(self) -> None:
        """Make what all else is compared with. What is imported now, no forked process imports."""
        make_photos(self.folder / "photos")
        write_list(self.model, self.hub)
        self.entry = checkpoint(MODEL, FAMILY)
        pull(self.entry)
        shutil.rmtree(folder_of(self.entry))
        started = time.perf_counter()
        pull(self.entry)
        self.fetching = time.perf_counter() - started
        self.weights, self.results, lengths = weights(), [], []
        for more in (0, 1):
            out = self.folder / f"reference-{more}"
            started = time.perf_counter()
            assert self.run_until(None, out, self.folder / f"cache-{more}", more)
            lengths.append(time.perf_counter() - started)
            self.results.append(results(out))
        self.running = min(lengths)
        print(
            f"{len(self.model)} files of weights, {sum(map(len, self.model.values())) / 1e6:.1f} "
            f"MB, fetched in {self.fetching:.2f} s; {PHOTOS} photos, {len(self.results[0])} files "
            f"of results, in {self.running:.2f} s; both uninterrupted",
            flush=True,
        )

    def run(self) -> None:
        """Begin anew, and go on until the job comes to its end."""
        out, cache = self.folder / "out", self.folder / "cache"
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(store_folder())
        write_list(self.model, self.hub)
        if self.jobs % 2 == 0:
            shutil.rmtree(cache, ignore_errors=True)
        self.hub.sent = 0
        now = Round(self.dice.random() < 0.5, dict.fromkeys(self.model, 0))
        more = now.more
        while not self.attempt(now, out, cache):
            more = now.more
        self.check_sent(now.arriving)
        same(weights(), self.weights)
        same(results(out), self.results[more])
        self.jobs += 1

    def attempt(self, now: Round, out: Path, cache: Path) -> bool:
        """Go on with the job until it is killed; whether it came to its end before."""
        whole = is_whole(self.entry)
        # Later kills come later, or a slow machine would never come to an end.
        kills, length = (now.running, self.running) if whole else (now.fetching, self.fetching)
        limit = self.dice.uniform(0, 0.5 * length * 1.2**kills)
        self.hub.asked.clear()
        at_end = self.run_until(limit, out, cache, now.more)
        self.check_requests(now.there)
        now.there = check_store(self.entry, self.model)
        lines = now.lines
        now.lines, writing = self.check_done(out)
        if not at_end:
            asked = self.hub.asked
            arriving = bool(asked) and not has_name(self.entry, asked[-1][0].removeprefix("/"))
            hit = "arriving" if arriving else "writing" if writing and now.lines > lines else "else"
            self.counts[hit] += 1
            now.arriving += arriving
            now.running += whole
            now.fetching += not whole
        return at_end

    def check_requests(self, there: dict[str, int]) -> None:
        """See that what was asked for lay just behind what was there before."""
        for path, start in self.hub.asked:
            name = path.removeprefix("/")
            assert start == there[name], f"{name}: {there[name]} bytes were there; asked at {start}"
            assert start < len(self.model[name]), f"{name} was all there, and was asked for"
            self.resumed += start > 0

    def check_sent(self, kills: int) -> None:
        """See that the server sent each byte once, but for those that were on their way."""
        twice = self.hub.sent - sum(map(len, self.model.values()))
        assert twice <= kills * IN_FLIGHT, f"{twice} bytes were sent again, after {kills} kills"
        self.most = max(self.most, twice)

    def check_done(self, out: Path) -> tuple[int, bool]:
        """See that all that is reported done is there, as one of the pipelines makes it.

        Returns:
            how many lines the journal has; whether results of a photo were being written.
        """
        lines = complete_lines(out / "items.jsonl")
        last = {entry["photo"]: entry for entry in lines}
        done = [entry for entry in last.values() if entry["status"] != "writing"]
        for entry in done:
            there = {name: (out / name).read_bytes() for name in entry["files"]}
            wanted = [{name: each.get(name) for name in there} for each in self.results]
            assert there in wanted, f"{entry['photo']} is reported done, and is not as it should be"
        return len(lines), len(done) < len(last)

    def run_until(self, seconds: float | None, out: Path, cache: Path, more: int) -> bool:
        """Run the job in a process of its own, killed after so long; whether it came to its end."""
        process = os.fork()  # quicker than starting Python anew
        if process == 0:
            try:
                code = work(self.folder / "photos", out, cache, more)
            except BaseException as error:
                print(f"FAILED: {type(error).__name__}: {error}", flush=True)
                os._exit(99)
            os._exit(code)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code not in (0, 2, -signal.SIGKILL):  # 2: finished, with the failures there must be
            sys.exit(f"a run ended with {code}")
        return code != -signal.SIGKILL

    def counted(self) -> str:
        return (
            f"{self.kills} kills: {self.counts['arriving']} while a file arrived, "
            f"{self.counts['writing']} while results were written; {self.jobs} jobs finished, all "
            "as uninterrupted"
        )

    def summary(self) -> str:
        return (
            f"{self.resumed} requests went on behind what was there; the most that was sent again "
            f"in a round: {self.most / 1000:.0f} kB"
        )


def complete_lines(journal: Path) -> list[dict[str, Any]]:
    """The lines of a journal that were written to their end."""
    if not journal.exists():
        return []
    lines = journal.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def results(out: Path) -> Files:
    """The files below a job's folder, without its own; tracebacks by name alone."""
    found = {}
    for path in out.rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in OWN:
            found[name] = b"" if name.startswith("failures/") else path.read_bytes()
    return found


def same(found: Files, wanted: Files) -> None:
    names = [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
    assert not names, f"these differ from an uninterrupted run: {sorted(names)[:10]}"
