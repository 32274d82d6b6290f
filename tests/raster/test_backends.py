"""Which backend runs where, and what is said where one cannot."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from neuraltex.errors import NeuraltexError
from neuraltex.raster import backends, make_gbuffer, rasterize
from tests.scenes import ring_cameras, uv_sphere

# Without the check of shapes: a stand-in for vertices on a GPU is not a tensor.
pick_backend = getattr(backends.pick_backend, "__wrapped__", backends.pick_backend)
pick_stages = getattr(backends.pick_stages, "__wrapped__", backends.pick_stages)
ON_CPU = torch.zeros(3, 3)
ON_GPU = SimpleNamespace(is_cuda=True, dtype=torch.float32)


def test_auto_takes_kernels_on_a_gpu_and_plain_torch_elsewhere(monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: name)
    assert pick_backend("auto", ON_CPU) == "torch"
    assert pick_backend("auto", ON_GPU) == "triton"
    assert pick_backend("auto", SimpleNamespace(is_cuda=True, dtype=torch.float64)) == "torch"
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert pick_backend("auto", ON_GPU) == "torch"


def test_what_follows_visibility_never_needs_pytorch3d(monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(backends, "pick_backend", pick_backend)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    assert pick_stages("pytorch3d", ON_CPU) == "torch"
    assert pick_stages("pytorch3d", ON_GPU) == "triton"
    assert pick_stages("torch", ON_GPU) == "torch"


def test_pytorch3d_by_name_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pytorch3d"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    mesh, cameras = uv_sphere(), ring_cameras(1, 20, 14)
    sentence = "needs the package pytorch3d .* install it with: conda install"
    with pytest.raises(NeuraltexError, match=sentence):
        rasterize(mesh.verts, mesh.faces, cameras, backend="pytorch3d")
    with pytest.raises(NeuraltexError, match=sentence):
        make_gbuffer(mesh, cameras, "pytorch3d")
    # nothing else notices
    assert make_gbuffer(mesh, cameras).mask.any()


def test_a_pytorch3d_without_cuda_is_refused_on_a_gpu_only(monkeypatch):
    monkeypatch.setattr(backends, "require", lambda module: SimpleNamespace())
    assert pick_backend("pytorch3d", ON_CPU) == "pytorch3d"
    with pytest.raises(NeuraltexError, match="built without CUDA; install a build with it"):
        pick_backend("pytorch3d", ON_GPU)
    monkeypatch.setattr(backends, "require", lambda module: SimpleNamespace(knn_check_version=None))
    assert pick_backend("pytorch3d", ON_GPU) == "pytorch3d"
