"""What `visionweave weights` refuses to add or accept, and a store that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from visionweave.cli import main

TWO = """
    [checkpoint.two]
    family = "clip"
    license = "MIT"
    commercial = "yes"
    files = [{ name = "config.json" }, { name = "model.bin" }]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for folder in ("p", "q"):
        Path(folder).mkdir()
        Path(folder, "config.json").write_text(folder)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["weights", *arguments])
    return code, capsys.readouterr().err


def test_files_of_one_name_are_refused(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    code, err = run(capsys, "add", "mine", "p/config.json", "q/config.json", "--family", "clip")
    assert code == 1
    assert "mine: 2 of the files given are called config.json in the store" in err
    assert not (store / "mine").exists()


def test_two_files_for_one_of_a_listed_checkpoint_are_refused(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    (store / "weights.lock").write_text(TWO)
    code, err = run(capsys, "add", "two", "p/config.json", "q/config.json")
    assert code == 1
    assert "two: 2 of the files given are called config.json in the store" in err
    assert not (store / "two").exists()


def test_files_of_one_name_can_be_given_names_of_their_own(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    files = ["p/config.json", "q/config.json", "--file", "a.json", "--file", "b.json"]
    code, err = run(capsys, "add", "mine", *files, "--family", "clip")
    assert code == 0, err
    assert [(store / "mine" / name).read_text() for name in ("a.json", "b.json")] == ["p", "q"]


def test_a_file_can_be_said_to_be_one_of_a_listed_checkpoint(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    (store / "weights.lock").write_text(TWO)
    assert run(capsys, "add", "two", "p/config.json", "--file", "model.bin")[0] == 0
    assert (store / "two/model.bin").read_text() == "p"
    code, err = run(capsys, "add", "two", "p/config.json", "--file", "other.bin")
    assert (code, "other.bin: which file of two is this?" in err) == (1, True)


def test_a_folder_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = run(capsys, "add", "mine", "p", "--family", "clip")
    assert (code, err) == (1, "error: p: this is a folder; give the files that are in it\n")


def test_the_name_of_a_profile_accepts_no_licences(
    capsys: pytest.CaptureFixture[str], store: Path
) -> None:
    (store / "weights.lock").write_text("""
        [checkpoint.strict]
        family = "sam"
        license = "No Sale"
        commercial = "no"
        files = [{ name = "a.bin" }]
        [profiles.own]
        sam = "strict"
    """)
    code, err = run(capsys, "add", "own", "p/config.json", "--accept-license", "No Sale")
    assert (code, "'own' is a profile, not a checkpoint" in err) == (1, True)
    assert not (store / "licenses.json").exists()


def test_terms_that_are_not_stated_are_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "add", "mine", "p/config.json", "--family", "clip")[0] == 0
    assert main(["weights", "list", "clip"]) == 0
    assert "not stated (conditional): its terms are not stated\n" in capsys.readouterr().out


def test_a_store_that_cannot_be_made(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = here / "elsewhere"
    store.symlink_to(here / "no" / "such")
    monkeypatch.setenv("VISIONWEAVE_WEIGHTS", str(store))
    code, err = run(capsys, "pull", "sam3-original", "--accept-license", "SAM-License")
    assert code == 1
    assert err.startswith(f"error: {store / 'licenses.json'}: cannot write or read this file: ")


@pytest.mark.parametrize("variable", ["VISIONWEAVE_WEIGHTS", "XDG_CACHE_HOME"])
def test_a_home_that_is_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("VISIONWEAVE_WEIGHTS")
    monkeypatch.delenv("VISIONWEAVE_CACHE", raising=False)
    monkeypatch.setenv(variable, "~no-such-user/folder")
    code, err = run(capsys, "list")
    expected = "there is no such home folder; set VISIONWEAVE_CACHE and VISIONWEAVE_WEIGHTS"
    assert (code, err) == (1, f"error: ~no-such-user/folder: {expected} to folders of yours\n")
