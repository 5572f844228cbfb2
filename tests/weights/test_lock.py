"""The list of weights: what it may say, how it is found wrong, and how a name is looked up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from visionweave.errors import WeightsError
from visionweave.weights import Checkpoint, WeightFile, checkpoint
from visionweave.weights.lock import (
    Lock,
    parse_lock,
    read_lock,
    shipped_lock,
    store_folder,
    user_lock,
)
from visionweave.weights.lock_text import lock_text, write_entry
from visionweave.weights.lookup import listed, profiles_of

HASH = "0" * 64
SMALLEST = """
[checkpoint.tiny]
family = "clip"
license = "MIT"
commercial = "yes"
files = [{ name = "a.bin" }]
"""


def test_an_entry_says_all_there_is_to_know() -> None:
    text = f"""
        [checkpoint."tiny-1.5"]
        family = "clip"
        source = "owner/model"
        revision = "abc"
        files = [
          {{ name = "unet/a.bin", bytes = 5, sha256 = "{HASH}" }},
          {{ name = "b.bin", url = "https://example.org/b" }},
        ]
        format = "pickle"
        license = "MIT"
        commercial = "no"
        terms = "none"
        paper = "someone"
        config = {{ mean = [0.5, 0.5, 0.5] }}
        shipped = true
        [profiles.base]
        clip = "tiny-1.5"
    """
    files = (
        WeightFile(
            "unet/a.bin", "https://huggingface.co/owner/model/resolve/abc/unet/a.bin", 5, HASH
        ),
        WeightFile("b.bin", "https://example.org/b", None, None),
    )
    entry = Checkpoint(
        name="tiny-1.5",
        family="clip",
        source="owner/model",
        revision="abc",
        files=files,
        format="pickle",
        license="MIT",
        commercial="no",
        terms="none",
        paper="someone",
        config={"mean": [0.5, 0.5, 0.5]},
        shipped=True,
    )
    assert parse_lock(text, "here") == Lock({"tiny-1.5": entry}, {"base": {"clip": "tiny-1.5"}})


def test_what_is_left_out_is_little() -> None:
    entry = parse_lock(SMALLEST, "here").checkpoints["tiny"]
    assert entry.files == (WeightFile("a.bin", "", None, None),)
    assert (entry.format, entry.config, entry.shipped) == ("safetensors", {}, False)
    assert not entry.hashed
    assert not entry.restricted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[checkpoint", "this is not TOML: Expected", id="no TOML"),
        pytest.param("[checkpoints.a]", "checkpoints: Extra inputs", id="unknown table"),
        pytest.param("[checkpoint.a]", "a.family: Field required", id="nothing said"),
        pytest.param("[checkpoint.a]", "a.license: Field required", id="no licence"),
        pytest.param(SMALLEST + "site = 1", "tiny.site: Extra inputs", id="unknown field"),
        pytest.param(SMALLEST.replace("yes", "maybe"), "'no' or 'conditional'", id="maybe"),
        pytest.param(SMALLEST.replace("[{", "[]#"), "files: List should have", id="no files"),
        pytest.param(SMALLEST.replace("a.bin", "../a"), "'../a' is no plain", id="leaves folder"),
        pytest.param(SMALLEST.replace("a.bin", "/a"), "'/a' is no plain", id="absolute"),
        pytest.param(SMALLEST.replace("a.bin", ".a"), "'.a' is no plain", id="hidden"),
        pytest.param(
            SMALLEST.replace("tiny", '"../x"'), "expected a name of letters", id="name leaves store"
        ),
        pytest.param(
            SMALLEST.replace('"a.bin"', '"a", sha256 = "abc"'), "files.0.sha256", id="short hash"
        ),
        pytest.param(
            SMALLEST.replace('"a.bin"', '"a", url = "file:///a"'),
            "files.0.url",
            id="no web address",
        ),
        pytest.param(
            SMALLEST.replace("[{", '[{name = "a.bin"}, {'), "files are called 'a.bin'", id="twice"
        ),
        pytest.param(
            SMALLEST + "config = { made = 2024-01-01 }", "only text, numbers", id="a date"
        ),
    ],
)
def test_a_list_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        parse_lock(text, "here")


def test_the_list_of_the_user_is_laid_over_ours(store: Path) -> None:
    (store / "weights.lock").write_text(
        SMALLEST.replace("tiny", "sam-vit-b") + '[profiles.base]\nclip = "sam-vit-b"\n'
        '[profiles.mine]\nclip = "sam-vit-b"'
    )
    lock = read_lock()
    assert lock.checkpoints["sam-vit-b"].family == "clip"
    assert lock.checkpoints["sam-vit-h"] == shipped_lock().checkpoints["sam-vit-h"]
    assert lock.profiles["base"]["clip"] == "sam-vit-b"
    assert lock.profiles["base"]["sam"] == "sam-vit-b"
    assert profiles_of("sam-vit-b", lock) == ["base", "mine"]
    assert checkpoint("mine", "clip").name == "sam-vit-b"


def test_a_list_of_the_user_that_cannot_be_read(store: Path) -> None:
    (store / "weights.lock").write_bytes(b"\xff")
    with pytest.raises(WeightsError, match=r"weights\.lock: cannot read this list of weights"):
        read_lock()


def test_the_store_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store_folder() == tmp_path / "store"
    monkeypatch.delenv("VISIONWEAVE_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store_folder() == tmp_path / "visionweave/weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_folder() == tmp_path / ".cache/visionweave/weights"
    assert user_lock() == Lock({}, {})


def test_names_and_profiles_are_looked_up() -> None:
    assert checkpoint("sam-vit-h", "sam").config["variant"] == "vit_h"
    assert checkpoint("base", "clip").name == "clip-vit-b-32-laion2b"
    assert checkpoint("base", "blip").name == "blip-caption-base"
    assert checkpoint("base", "blip.answer").name == "blip-vqa-base"
    assert checkpoint("base", "blip.another").name == "blip-caption-base"
    assert checkpoint("blip-vqa-base", "blip.answer").name == "blip-vqa-base"


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("sam-vit-bb", "sam", "no checkpoint 'sam-vit-bb' for sam; did you mean sam-vit-b?"),
        ("xyz", "triposr", "for triposr: triposr, mini-triposr; or a profile: mini, base, large"),
        ("min", "tag2text.tag", "did you mean mini? those for tag2text: "),
        ("min", "tag2text.tag", "; or a profile: mini, base, large"),
        ("xyz", "tag2text.caption", "; or a profile: base, large"),
        ("sam-vit-b", "clip", "sam-vit-b is a checkpoint for sam, not for clip; those for clip:"),
        (
            "mini",
            "zero123",
            "profile mini has no checkpoint for zero123; profile base has zero123-xl: choose it "
            "with --profile base, or with the setting 'model: base', once it is fetched: "
            "visionweave weights pull zero123-xl",
        ),
        ("mini", "blip.answer", "for blip.answer; profile base has blip-vqa-base: choose it with"),
        ("mini", "blip.match", "for blip.match; profile base has blip-itm-base: choose it with -"),
        ("mini", "tag2text.caption", "for tag2text.caption; profile base has tag2text: choose it"),
        ("mini", "imagebind", "has no checkpoint for imagebind; none is listed for imagebind"),
        ("base", "imagebind", "no checkpoint for imagebind; none is listed for imagebind"),
    ],
)
def test_a_name_that_is_not_listed(name: str, family: str, message: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(message)):
        checkpoint(name, family)


def test_a_name_of_whatever_family() -> None:
    assert listed("sam-vit-b").family == "sam"
    with pytest.raises(WeightsError, match="see all with: visionweave weights list"):
        listed("nothing like it at all")


def test_our_list_is_sound() -> None:
    lock = shipped_lock()
    for name, chosen in lock.profiles.items():
        assert name in ("mini", "base", "large")
        for family, member in chosen.items():
            assert lock.checkpoints[member].family == family.partition(".")[0]
    for entry in lock.checkpoints.values():
        at_home = all(file.url == "" for file in entry.files)
        assert entry.shipped == at_home, entry.name
        assert at_home or all(file.url.startswith("https://") for file in entry.files), entry.name
        assert entry.shipped == entry.name.startswith("mini-"), entry.name
        assert entry.paper, entry.name
        assert entry.terms or not entry.restricted, entry.name
        safe = all(file.name.endswith(".safetensors") for file in entry.files[:1])
        assert safe == (entry.format == "safetensors"), entry.name


def test_every_family_of_the_nodes_has_a_checkpoint_in_each_profile() -> None:
    families = {"blip", "clip", "grounding_dino", "sam", "tag2text", "triposr", "zero123"}
    assert families == {entry.family for entry in shipped_lock().checkpoints.values()}
    for profile in ("base", "large"):
        assert {checkpoint(profile, family).family for family in families} == families


def test_our_list_survives_being_written_and_read() -> None:
    assert parse_lock(lock_text(shipped_lock()), "here") == shipped_lock()


def test_odd_facts_survive_being_written_and_read() -> None:
    config = {"a b": {"c": [1, 2.5, True, "x"]}, "text": 'q"\\\n\x7fü', "small": 1e-12, "none": {}}
    entry = Checkpoint(
        name="a.b-c",
        family="clip",
        source="",
        revision="",
        files=(WeightFile("a", "", None, HASH),),
        format="zip of a pickle",
        license="X",
        commercial="yes",
        terms="",
        paper="",
        config=config,
    )
    lock = Lock({"a.b-c": entry}, {"my profile": {"blip.answer": "a.b-c"}})
    assert parse_lock(lock_text(lock), "here") == lock


def test_writing_an_entry_keeps_the_others(store: Path) -> None:
    (store / "weights.lock").write_text(SMALLEST + '[profiles.mine]\nclip = "tiny"')
    entry = parse_lock(SMALLEST.replace("tiny", "second"), "here").checkpoints["second"]
    write_entry(entry)
    assert list(user_lock().checkpoints) == ["tiny", "second"]
    assert user_lock().profiles == {"mine": {"clip": "tiny"}}
