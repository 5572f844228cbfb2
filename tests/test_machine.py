"""What is remembered of the machine: on which device models run, without asking torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from visionweave import DeviceError, Runtime, machine


def test_what_was_remembered_is_known_until_the_machine_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert machine.remembered("auto", "auto") is None
    machine.remember("auto", "auto", "cpu", "bf16")
    machine.remember("auto", "fp32", "cpu", "fp32")
    assert machine.remembered("auto", "auto") == ("cpu", "bf16")
    assert machine.remembered("auto", "fp32") == ("cpu", "fp32")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert machine.remembered("auto", "auto") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": 1}', "no JSON"])
def test_a_memory_that_is_damaged_is_none(own_cache: Path, text: str) -> None:
    (own_cache / "machine.json").write_text(text)
    assert machine.remembered("auto", "auto") is None


def test_a_runtime_asks_the_memory_before_it_asks_torch() -> None:
    machine.remember("auto", "auto", "cuda:3", "fp16")
    assert Runtime().expected == ("cuda:3", "fp16")
    assert Runtime("cpu", "fp32").expected == ("cpu", "fp32")


def test_a_memory_that_was_wrong_is_found_out_and_forgotten() -> None:
    machine.remember("auto", "auto", "cuda:3", "fp16")
    runtime = Runtime()
    assert runtime.expected[0] == "cuda:3"
    with pytest.raises(DeviceError, match=r"computed on cuda:3 before, and does on \S+ now; run"):
        runtime.device  # noqa: B018 - asking finds out
    assert machine.remembered("auto", "auto") is None
    assert runtime.device == runtime.expected[0] == "cpu"


def test_a_precision_that_was_wrong_is_found_out_and_forgotten() -> None:
    machine.remember("cpu", "auto", "cpu", "bf16")
    runtime = Runtime("cpu")
    runtime._find_precision = lambda: "fp32"  # type: ignore[method-assign]
    assert runtime.expected == ("cpu", "bf16")
    with pytest.raises(DeviceError, match="computed in bf16 before, and does in fp32 now; run"):
        runtime.precision  # noqa: B018 - asking finds out
    assert runtime.expected == ("cpu", "fp32")
    assert machine.remembered("cpu", "auto") == ("cpu", "fp32")
