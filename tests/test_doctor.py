"""`neuraltex doctor`: what it says of this machine, and of machines on which something is missing or broken."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuraltex import cli, doctor
from neuraltex.doctor import Check, Diagnosis
from neuraltex.errors import InputError
from neuraltex.raster import Fragments

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def assert_fails(check: Check, finding: str, advice: str) -> None:
    """A failing check tells what it found, and what to do in one sentence."""
    assert not check.ok
    assert re.search(finding, check.finding), check.finding
    assert re.search(advice, check.advice), check.advice
    assert "\n" not in check.advice


def always(value):
    return lambda *_, **__: value


def failing(error: Exception):
    def fail(*_, **__):
        raise error

    return fail


def test_this_machine_can_run_the_main_job():
    diagnosis = doctor.diagnose(CPU)
    assert diagnosis.can_run, [check for check in diagnosis.required if not check.ok]
    names = [check.name for check in (*diagnosis.required, *diagnosis.optional)]
    assert names == ["torch", "rasterizer", "learning", "video", "memory", "disk", "GPU", "Triton", "PyTorch3D",
                     "other videos", "pycolmap", "scikit-image", "open3d", "viser", "lpips"]  # fmt: skip
    for check in (*diagnosis.required, *diagnosis.optional):
        assert check.finding
        assert check.ok or check.advice, check.name
    assert diagnosis.required[1].finding.startswith("auto takes torch on cpu: ")
    assert "a hundred times faster" in diagnosis.required[1].advice


def test_command_prints_all_and_exits_by_what_is_required(monkeypatch, capsys):
    cli.main(["doctor", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert "rasterizer" in printed
    assert "The main job can run here" in printed
    good, bad = Check("a", True, "fine"), Check("b", False, "broken", "pip install 'it[all]'")
    monkeypatch.setattr(cli, "diagnose", always(Diagnosis((good,), (bad,))))
    cli.main(["doctor", "--device", "cpu"])
    assert "-> pip install 'it[all]'" in capsys.readouterr().out
    monkeypatch.setattr(cli, "diagnose", always(Diagnosis((good, bad), ())))
    with pytest.raises(SystemExit) as caught:
        cli.main(["doctor", "--device", "cpu"])
    assert caught.value.code == 1
    assert "The main job cannot run here: mend b." in capsys.readouterr().out


def test_tested_range_is_that_of_the_installation():
    setup = (Path(__file__).resolve().parents[1] / "setup.py").read_text()
    lowest, above = (".".join(map(str, version)) for version in doctor.TESTED_TORCH)
    assert f'"torch>={lowest},<{above}"' in setup


@pytest.mark.parametrize("version", ["2.11.0+cu130", "2.13.1"])
def test_torch_inside_the_range(version, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    assert doctor.check_torch(CPU).ok


@pytest.mark.parametrize("version", ["2.10.1", "2.14.0a0+git1", "1.13", "3.0", "nightly"])
def test_torch_outside_the_range(version, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    assert_fails(doctor.check_torch(CPU), f"{re.escape(version)}, outside", r"pip install 'torch>=2\.11,<2\.14'")


def test_rasterizer_that_fails_or_sees_nothing(monkeypatch):
    whole = doctor.rasterize
    monkeypatch.setattr(doctor, "rasterize", failing(RuntimeError("no kernel image\nsecond line")))
    assert_fails(
        doctor.check_rasterizer(CPU), "torch on cpu fails: RuntimeError: no kernel image$", "install torch anew"
    )

    def empty(*arguments, **settings):
        fragments = whole(*arguments, **settings)
        return replace(fragments, pix_to_face=torch.full_like(fragments.pix_to_face, -1))

    monkeypatch.setattr(doctor, "rasterize", empty)
    assert_fails(doctor.check_rasterizer(CPU), "nothing was drawn", "install torch anew")


def fragments_of(face: int) -> Fragments:
    shape = (2, doctor.HEIGHT, doctor.WIDTH)
    return Fragments(torch.full(shape, face), torch.full((*shape, 3), 1 / 3), torch.full(shape, 2.0))


def test_rasterizer_on_a_gpu_is_held_against_plain_torch(monkeypatch):
    monkeypatch.setattr(torch, "zeros", always(None))
    monkeypatch.setattr(doctor, "pick_backend", always("triton"))
    monkeypatch.setattr(doctor, "_draw", lambda backend, device: (fragments_of(1), 1e-5))
    good = doctor.check_rasterizer(GPU)
    assert good.ok
    assert "auto takes triton on cuda: there is a CUDA device, and Triton; 0.01 ms a view" in good.finding
    assert "the faces of plain torch in all 38,400 pixels" in good.finding
    monkeypatch.setattr(doctor, "_draw", lambda backend, device: (fragments_of(int(backend == "triton")), 1e-5))
    assert_fails(doctor.check_rasterizer(GPU), "other faces than plain torch in 38,400 of 38,400", "--device cpu")
    monkeypatch.setattr(doctor, "_draw", failing(RuntimeError("Failed to find C compiler")))
    assert_fails(doctor.check_rasterizer(GPU), "triton on cuda fails: .*C compiler", "install gcc, or")
    monkeypatch.setattr(doctor, "pick_backend", always("torch"))
    monkeypatch.setattr(doctor, "_draw", lambda backend, device: (fragments_of(1), 1e-2))
    slow = doctor.check_rasterizer(GPU)
    assert slow.ok
    assert "Triton is missing" in slow.finding
    assert slow.advice == "pip install triton"


def test_learning_that_fails_or_yields_no_numbers(monkeypatch):
    whole = doctor.render
    monkeypatch.setattr(doctor, "render", failing(RuntimeError("out of memory")))
    assert_fails(doctor.check_learning(CPU), "a training step on cpu fails: .*out of memory", "--device cpu, or")
    for factor in (torch.nan, 0.0):

        def broken(*arguments, factor=factor):
            rendering = whole(*arguments)
            return replace(rendering, rgb=rendering.rgb * factor)

        monkeypatch.setattr(doctor, "render", broken)
        assert_fails(doctor.check_learning(CPU), "gradients on cpu are not sound", "install torch anew")


def test_video_that_cannot_be_written_or_comes_back_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "write_video", failing(InputError("try.mp4", "could not be encoded")))
    assert_fails(doctor.check_video(CPU), "fails: InputError: try.mp4: could not be encoded", "pip install av")
    monkeypatch.setattr(doctor, "write_video", always(None))
    for frames, finding in (
        (np.zeros((15, 48, 64, 3), np.uint8), "of 16 H.264 frames 15 came back"),
        (np.zeros((16, 48, 64, 3), np.uint8), "came back 12. of 255 levels off"),
    ):
        monkeypatch.setattr(doctor, "read_video", always(SimpleNamespace(frames=frames)))
        assert_fails(doctor.check_video(CPU), finding, "render to a folder of PNG files")


def test_memory(monkeypatch):
    monkeypatch.setattr(doctor, "available_bytes", always(1 << 28))
    assert_fails(doctor.check_memory(CPU), "0.2 GiB free", "close other programs until 1.5 GiB are free")
    monkeypatch.setattr(doctor, "available_bytes", always(None))
    assert doctor.check_memory(CPU).ok


def test_disk(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", always(SimpleNamespace(free=1 << 20)))
    assert_fails(doctor.check_disk(CPU), "0.0 GiB free in ", "free 0.5 GiB there, or")
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", failing(PermissionError(13, "Permission denied")))
    assert_fails(doctor.check_disk(CPU), "cannot be written: PermissionError", "a folder of your own")


def test_gpu_that_is_missing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", always(False))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert_fails(doctor.check_gpu(CPU), "torch sees no CUDA device", "driver: .* a hundred times faster")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", always("/usr/bin/nvidia-smi"))
    assert_fails(
        doctor.check_gpu(CPU), "this torch was built without CUDA", "install torch with CUDA, as environment.yml"
    )
    monkeypatch.setattr(doctor.shutil, "which", always(None))
    assert_fails(doctor.check_gpu(CPU), "^none: ", "nothing to do")


def test_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", always(True))
    monkeypatch.setattr(torch.cuda, "get_device_name", always("Some GPU"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", always((9, 0)))
    monkeypatch.setattr(torch.cuda, "mem_get_info", always((3 << 30, 4 << 30)))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", always(13010), raising=False)
    ones = torch.ones(256, 256)
    monkeypatch.setattr(torch, "ones", always(ones))
    check = doctor.check_gpu(CPU)
    assert check.ok
    assert check.finding == (
        "Some GPU, compute capability 9.0, 3.0 GiB of 4.0 GiB free, CUDA 13.0, driver for CUDA 13.1"
    )
    monkeypatch.setattr(torch, "ones", always(ones * 2))
    assert_fails(doctor.check_gpu(GPU), "a matrix product on it is wrong", "--device cpu")
    monkeypatch.setattr(torch, "ones", failing(RuntimeError("CUDA error: out of memory")))
    assert_fails(doctor.check_gpu(GPU), "it fails: RuntimeError: CUDA error", "or run with --device cpu")


def test_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(__version__="3.9.0"))
    assert doctor.check_triton(CPU) == Check("Triton", True, "3.9.0, not tried: it draws on an NVIDIA GPU only")
    monkeypatch.setattr(doctor, "_draw", lambda backend, device: (fragments_of(int(backend == "triton")), 1e-5))
    assert_fails(doctor.check_triton(GPU), "3.9.0; on cuda 0.01 ms .*, other faces", "do not use backend='triton' here")
    monkeypatch.setattr(doctor, "_draw", failing(RuntimeError("Failed to find C compiler")))
    assert_fails(doctor.check_triton(GPU), "drawing with it on cuda fails: RuntimeError", "install gcc")
    monkeypatch.setitem(sys.modules, "triton", None)
    assert_fails(doctor.check_triton(CPU), "cannot be imported", "nothing to do: it is of use on an NVIDIA GPU only")
    assert_fails(doctor.check_triton(GPU), "cannot be imported", "pip install triton")


@pytest.mark.pytorch3d
def test_pytorch3d_sees_the_same_faces():
    check = doctor.check_pytorch3d(CPU)
    assert check.ok
    assert "the faces of plain torch in all 38,400 pixels" in check.finding


def test_pytorch3d_that_is_missing_or_wrong(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pytorch3d"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    assert_fails(doctor.check_pytorch3d(CPU), "^not installed$", "only for code that uses it already: conda install")
    monkeypatch.setitem(sys.modules, "pytorch3d", SimpleNamespace(__path__=[]))
    monkeypatch.setattr("neuraltex.optional.importlib.import_module", failing(ImportError("undefined symbol: _ZN3c10")))
    assert_fails(doctor.check_pytorch3d(CPU), "cannot be imported: ImportError: undefined symbol", "conda install")
    monkeypatch.setattr(doctor, "pytorch3d_has_cuda", always(False))
    monkeypatch.setattr(doctor.importlib.metadata, "version", always("0.7.9"))
    monkeypatch.setattr(doctor, "_draw", lambda backend, device: (fragments_of(int(backend == "torch")), 0.1))
    assert_fails(doctor.check_pytorch3d(GPU), "0.7.9, built without CUDA; on cpu 100 ms .*, other faces", "do not use")


def test_codecs(monkeypatch):
    def codec(name, mode):
        if name in ("prores", "av1"):
            raise ValueError(name)

    monkeypatch.setitem(sys.modules, "av", SimpleNamespace(Codec=codec))
    assert_fails(doctor.check_codecs(CPU), "cannot read prores, av1", "pip install av")
    monkeypatch.setitem(sys.modules, "av", None)
    assert_fails(doctor.check_codecs(CPU), "PyAV cannot be imported", "pip install av")


def test_optional_packages(monkeypatch):
    arguments = {"module": "some_package", "extra": "poses", "purpose": "to find cameras"}
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    assert_fails(
        doctor.check_package(CPU, **arguments), "^not installed$", r"^to find cameras: pip install .*\[poses\]"
    )
    monkeypatch.setattr(doctor.importlib, "import_module", failing(OSError("libGL.so.1: cannot open")))
    assert_fails(doctor.check_package(CPU, **arguments), "cannot be imported: OSError: libGL", "pip install")
    monkeypatch.setattr(doctor.importlib, "import_module", always(None))
    monkeypatch.setattr(doctor.importlib.metadata, "version", always("1.2"))
    assert doctor.check_package(CPU, **arguments) == Check("some_package", True, "1.2")
