"""What `visionweave weights` refuses to add or accept, and a store that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from visionweave.cli import main


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
    (store / "weights.lock").write_text("""
        [checkpoint.two]
        family = "clip"
        license = "MIT"
        commercial = "yes"
        files = [{ name = "config.json" }, { name = "model.bin" }]
    """)
    code, err = run(capsys, "add", "two", "p/config.json", "q/config.json")
    assert code == 1
    assert "two: 2 of the files given are called config.json in the store" in err
    assert not (store / "two").exists()


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
