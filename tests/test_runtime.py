"""Devices, precisions and shared models."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from visionweave import DeviceError, Input, ModelNode, Pipeline, Text, batched, node
from visionweave.runtime import Runtime, cpu_has_bf16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("flags\t\t: fpu sse2 avx512_bf16 avx512_fp16", True, id="AVX512-BF16"),
        pytest.param("flags\t\t: fpu sse2 amx_bf16 amx_tile", True, id="AMX"),
        pytest.param("Features\t: fp asimd i8mm bf16 dgh", True, id="Arm"),
        pytest.param("flags\t\t: fpu sse2 avx512f", False, id="AVX512 without bf16"),
        pytest.param("flags\t\t: fpu avx512_bf16_soon", False, id="part of a word"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_bf16_is_read_from_the_cpu_flags(tmp_path: Path, text: str, expected: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: Some\n{text}\n\nprocessor\t: 1\n{text}\n")
    assert cpu_has_bf16(cpuinfo) == expected


def test_a_system_that_does_not_tell_has_no_bf16(tmp_path: Path) -> None:
    assert cpu_has_bf16(tmp_path / "none") is False


def test_a_runtime_is_one_per_device_and_precision_however_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VISIONWEAVE_DEVICE")
    monkeypatch.delenv("VISIONWEAVE_PRECISION")
    runtime = Runtime.get()
    assert runtime is Runtime.get("auto") is Runtime.get("auto", "auto")
    assert runtime is Runtime.get(precision="auto") is Runtime.get(device="auto")
    assert runtime is not Runtime.get("cpu")
    assert Runtime.get("cpu", "fp32") is not Runtime.get("cpu", "bf16")
    assert repr(Runtime.get("cpu", "bf16")) == "Runtime(device='cpu', precision='bf16')"


def test_an_unknown_precision_is_refused_before_anything_runs() -> None:
    message = "precision must be one of auto, bf16, fp16, fp32; got 'fp8'"
    with pytest.raises(DeviceError, match=message):
        Pipeline(out=Input("text", Text)).run(text="a", precision="fp8")


def test_an_unknown_precision_is_told_from_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONWEAVE_PRECISION", "fp8")
    with pytest.raises(DeviceError, match=r"^\$VISIONWEAVE_PRECISION: precision must be one of"):
        Runtime.get()


SMAPS = Path("/proc/self/smaps")
HUGE = """
from pathlib import Path
from visionweave.runtime import Runtime
Runtime.get("cpu")
import torch
tensor = torch.ones(2**24)
advised = ["hg" in line.split() for line in Path("/proc/self/smaps").open() if "VmFlags" in line]
print(any(advised))
"""


@pytest.mark.skipif(
    not (SMAPS.exists() and Path("/sys/kernel/mm/transparent_hugepage").exists()),
    reason="a system without huge pages",
)
@pytest.mark.parametrize(("given", "expected"), [(None, "True"), ("0", "False")])
def test_large_tensors_lie_in_huge_pages_unless_the_environment_forbids_it(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: str
) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    if given is not None:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", given)
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected, done.stderr


# Sharing --------------------------------------------------------------------------------------


class Network:
    """A model."""


def test_a_model_is_built_once_and_lives_as_long_as_somebody_has_it() -> None:
    runtime, built = Runtime("cpu"), list[int]()

    def build() -> Network:
        built.append(1)
        return Network()

    first = runtime.share("sam/encoder", build)
    assert runtime.share("sam/encoder", build) is first
    assert runtime.share("sam/decoder", build) is not first
    assert len(built) == 2
    del first
    gc.collect()
    runtime.share("sam/encoder", build)
    assert len(built) == 3


def test_a_model_is_shared_however_its_device_was_asked_for() -> None:
    first = Runtime.get("cpu", "fp32").share("sam", Network)
    assert Runtime("cpu", "fp32").share("sam", Network) is first
    assert Runtime("cpu", "bf16").share("sam", Network) is not first


def test_two_threads_that_ask_at_once_share_one_model() -> None:
    runtime, gate, found = Runtime("cpu"), threading.Barrier(2), list[Network]()

    def ask() -> None:
        gate.wait(timeout=30)
        found.append(runtime.share("sam", Network))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(found) == 2
    assert found[0] is found[1]


def test_a_model_may_be_built_of_shared_ones() -> None:
    runtime = Runtime("cpu")
    inner = runtime.share("outer", lambda: runtime.share("inner", Network))
    assert runtime.share("inner", Network) is inner


# With torch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["auto", "cpu"])
def test_the_device_is_given_in_words_of_torch(asked: str) -> None:
    import torch

    first = "cuda:0" if asked == "auto" and torch.cuda.is_available() else "cpu"
    assert Runtime(asked).device == first


def test_cuda_means_the_first_device() -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match=r"device 'cuda' is not on this machine: \S.*"):
            Runtime("cuda").device  # noqa: B018 - it is worked out when asked for
        return
    assert Runtime("cuda").device == Runtime("cuda:0").device == "cuda:0"


@pytest.mark.parametrize("asked", ["cuda:99", "gpu", ""])
def test_a_device_that_is_not_there_is_refused(asked: str) -> None:
    with pytest.raises(DeviceError, match=rf"^device '{asked}' is not on this machine: \S[^\n]*$"):
        Runtime(asked).device  # noqa: B018 - it is worked out when asked for


@pytest.mark.parametrize("asked", ["bf16", "fp16", "fp32"])
def test_a_precision_that_is_asked_for_is_used(asked: str) -> None:
    assert Runtime("cpu", asked).precision == asked


def test_the_environment_says_what_auto_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONWEAVE_DEVICE", "cpu")
    monkeypatch.setenv("VISIONWEAVE_PRECISION", "bf16")
    assert Runtime.get() is Runtime.get("cpu", "bf16")
    assert Runtime.get("cpu", "fp32").precision == "fp32"  # what is asked for stays


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp32")])
def test_the_cpu_computes_in_bf16_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str
) -> None:
    monkeypatch.setattr("visionweave.runtime.cpu_has_bf16", lambda: has_bf16)
    assert Runtime("cpu").precision == precision


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_a_forward_pass_keeps_no_gradients_and_computes_in_the_precision(precision: str) -> None:
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    layer, ones = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with Runtime("cpu", precision).forward():
        result = layer(ones)
        assert torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()
    assert (result.dtype, result.requires_grad) == (dtype, False)
    assert layer(ones).dtype == torch.float32


def test_a_model_runs_in_the_forward_context_of_its_runtime() -> None:
    @node("runtime.linear")
    class Linear(ModelNode):
        def load(self, runtime: Runtime) -> None:
            import torch

            self.layer = torch.nn.Linear(2, 2).to(runtime.device)

        async def run(self, text: Text) -> Text:
            return Text(await self.type_of(float(len(text.text))))

        @batched(size=4)
        def type_of(self, numbers: list[float]) -> list[str]:
            import torch

            given = torch.tensor(numbers)[:, None].expand(-1, 2)
            return [str(row.dtype) for row in self.layer(given)]

    pipeline = Pipeline(out=Linear()(Input("text", Text)))
    for precision, dtype in (("bf16", "torch.bfloat16"), ("fp32", "torch.float32")):
        result = pipeline.run(text="abc", device="cpu", precision=precision)
        assert result["out"].text == dtype


def test_a_device_that_is_not_there_ends_the_run() -> None:
    @node("runtime.loading")
    class Loading(ModelNode):
        def load(self, runtime: Runtime) -> None:
            self.device = runtime.device

        async def run(self, text: Text) -> Text:
            return text

    pipeline = Pipeline(out=Loading()(Input("text", Text)))
    with pytest.raises(DeviceError, match="device 'cuda:99' is not on this machine"):
        list(pipeline.map(["a", "b"], device="cuda:99"))


def test_a_context_that_cannot_be_entered_ends_the_run_and_fails_no_item() -> None:
    @node("runtime.late")
    class Late(ModelNode):
        def load(self, runtime: Runtime) -> None:
            """The device is first asked for by the forward pass."""

        async def run(self, text: Text) -> Text:
            return await self.same(text)

        @batched(size=4)
        def same(self, texts: list[Text]) -> list[Text]:
            return texts

    pipeline = Pipeline(out=Late()(Input("text", Text)))
    with pytest.raises(DeviceError, match="device 'cuda:99' is not on this machine"):
        list(pipeline.map(["a", "b"], device="cuda:99"))


NO_TORCH = """
import sys
import visionweave as vw
from visionweave import Input, Node, Pipeline, Text, node

@node("light.shout")
class Shout(Node):
    async def run(self, text: Text) -> Text:
        return Text((await self.shout(text.text)))

    @vw.batched(size=2)
    def shout(self, words):
        if "?" in words:
            raise MemoryError
        return [word.upper() for word in words]

results = list(Pipeline(out=Shout()(Input("text", Text))).map(["a", "?", "b"]))
print([result["out"].text for result in results if result.ok], "torch" in sys.modules)
"""


def test_a_pipeline_without_models_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == "['A', 'B'] False\n"
