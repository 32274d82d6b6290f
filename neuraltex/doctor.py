"""`neuraltex doctor`: whether the main job can run here, found out by trying, and what would make it faster.

Each check is one function of the device; it tries a small piece of the real work and tells in one sentence what to do
where that fails. The main job needs all of `REQUIRED` and none of `OPTIONAL`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import trimesh

from neuraltex.cameras.camera import Camera, look_at
from neuraltex.capture import read_video, write_video
from neuraltex.capture.memory import available_bytes
from neuraltex.errors import NeuraltexError
from neuraltex.geometry.mesh import Mesh
from neuraltex.optional import BY_HAND
from neuraltex.pipeline import render
from neuraltex.raster import Fragments, rasterize
from neuraltex.raster.backends import pick_backend, pytorch3d_has_cuda
from neuraltex.shading import Shader, ShadingConfig

# The range that setup.py asks for.
TESTED_TORCH = ((2, 11), (2, 14))
# `neuraltex demo` takes 0.9 GiB of memory and leaves 0.12 GiB on the disk.
NEEDED_MEMORY, NEEDED_DISK = 3 << 29, 1 << 29
WIDTH, HEIGHT = 160, 120
VIDEO_FRAMES = 16
FASTER = "an NVIDIA GPU with Triton draws a hundred times faster or more"


@dataclass(frozen=True)
class Check:
    """What one check found.

    Args:
        name: what was checked.
        ok: whether it works.
        finding: what was found, one sentence.
        advice: what to do about it, one sentence; empty where there is nothing to do.
    """

    name: str
    ok: bool
    finding: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks of a machine.

    Args:
        required: what the main job needs.
        optional: what makes it faster or serves other commands.
    """

    required: tuple[Check, ...]
    optional: tuple[Check, ...]

    @property
    def can_run(self) -> bool:
        """Whether the main job can run."""
        return all(check.ok for check in self.required)


def diagnose(device: torch.device) -> Diagnosis:
    """Run every check.

    Args:
        device: where the main job would compute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that are only looked at
        return Diagnosis(tuple(check(device) for check in REQUIRED), tuple(check(device) for check in OPTIONAL))


def check_torch(device: torch.device) -> Check:
    """The version of torch against the tested range."""
    del device
    lowest, above = (".".join(map(str, version)) for version in TESTED_TORCH)
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    inside = found is not None and TESTED_TORCH[0] <= (int(found[1]), int(found[2])) < TESTED_TORCH[1]
    place = "inside" if inside else "outside"
    finding = f"{torch.__version__}, {place} the tested range >={lowest},<{above}"
    return Check("torch", inside, finding, "" if inside else f"pip install 'torch>={lowest},<{above}'")


def check_rasterizer(device: torch.device) -> Check:
    """The backend that `auto` takes, at work, and its faces against those of plain torch."""
    backend = "torch"
    try:
        backend = pick_backend("auto", torch.zeros(1, 3, device=device))
        found, seconds = _draw(backend, device)
        expected, _ = _draw("torch", torch.device("cpu"))
    except Exception as error:
        advice = "run with --device cpu" if device.type != "cpu" else "install torch anew"
        if backend == "triton":
            advice = "Triton compiles with the system's C compiler: install gcc, or run with --device cpu"
        return Check("rasterizer", False, f"{backend} on {device} fails: {_sentence(error)}", advice)
    num_wrong = _num_differing(found, expected)
    finding = f"auto takes {backend} on {device}: {_reason(backend, device)}; {_speed(seconds)}"
    if (backend, device.type) != ("torch", "cpu"):
        finding += f", {_agreement(num_wrong, found)}"
    if num_wrong > _tolerated(found):
        return Check("rasterizer", False, finding, "run with --device cpu")
    if backend == "triton":
        return Check("rasterizer", True, finding)
    return Check("rasterizer", True, finding, "pip install triton" if device.type == "cuda" else FASTER)


def _reason(backend: str, device: torch.device) -> str:
    """Why `auto` takes a backend."""
    if backend == "triton":
        return "there is a CUDA device, and Triton"
    if device.type == "cuda":
        return "Triton is missing"
    return "no CUDA device was asked for" if torch.cuda.is_available() else "there is no CUDA device"


def check_learning(device: torch.device) -> Check:
    """One picture through texture and network, and gradients back to both."""
    try:
        mesh, cameras = _scene(device)
        torch.manual_seed(0)
        shader = Shader(ShadingConfig(decoder_width=8, decoder_levels=2, texture_size=32, environment_size=16))
        shader.to(device)
        begin = time.perf_counter()
        (render(mesh, cameras, shader).rgb - 0.25).square().mean().backward()
        gradients = [p.grad for p in shader.parameters() if p.grad is not None]
        sound = bool(torch.stack([g.isfinite().all() for g in gradients]).all())
        moving = max(float(g.abs().max()) for g in gradients) > 0
        seconds = time.perf_counter() - begin
    except Exception as error:
        advice = "run with --device cpu, or install torch anew"
        return Check("learning", False, f"a training step on {device} fails: {_sentence(error)}", advice)
    if not (sound and moving):
        return Check("learning", False, f"gradients on {device} are not sound", "install torch anew")
    return Check("learning", True, f"a training step on {device} gives sound gradients, the first in {seconds:.2g} s")


def check_video(device: torch.device) -> Check:
    """An H.264 video written and read back."""
    del device
    advice = "pip install av (its wheels bring the H.264 encoder); until then, render to a folder of PNG files"
    column = torch.linspace(0, 1, 64).expand(48, 64)
    row = torch.linspace(0, 1, 48)[:, None].expand(48, 64)
    frames = [torch.stack([column, row, torch.full_like(row, i / VIDEO_FRAMES)], dim=-1) for i in range(VIDEO_FRAMES)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "try.mp4"
            write_video(path, frames, 30.0)
            read = torch.from_numpy(read_video(path).frames) / 255
    except Exception as error:
        return Check("video", False, f"writing and reading an H.264 video fails: {_sentence(error)}", advice)
    written = torch.stack(frames)
    if read.shape != written.shape:
        return Check("video", False, f"of {VIDEO_FRAMES} H.264 frames {len(read)} came back", advice)
    error_levels = 255 * float((read - written).abs().mean())
    # measured 0.9: the format keeps colours at half the resolution
    if error_levels > 4:
        return Check("video", False, f"H.264 frames came back {error_levels:.0f} of 255 levels off", advice)
    return Check("video", True, f"{VIDEO_FRAMES} frames of H.264 written and read back")


def check_memory(device: torch.device) -> Check:
    """Memory that is free."""
    del device
    free = available_bytes()
    if free is None:
        return Check("memory", True, "the system does not tell how much is free")
    enough = free >= NEEDED_MEMORY
    advice = "" if enough else f"close other programs until {_gib(NEEDED_MEMORY)} are free, or train with --size 256"
    return Check("memory", enough, f"{_gib(free)} free", advice)


def check_disk(device: torch.device) -> Check:
    """Room in the working folder, and the right to write there."""
    del device
    folder = Path.cwd()
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return Check("disk", False, f"{folder} cannot be written: {_sentence(error)}", "change to a folder of your own")
    enough = free >= NEEDED_DISK
    advice = "" if enough else f"free {_gib(NEEDED_DISK)} there, or name an output folder elsewhere with -o"
    return Check("disk", enough, f"{_gib(free)} free in {folder}", advice)


def check_gpu(device: torch.device) -> Check:
    """The GPU that torch sees, at work, and what torch says of it."""
    if not torch.cuda.is_available():
        if torch.version.cuda is not None:
            return Check("GPU", False, "torch sees no CUDA device", f"install or update NVIDIA's driver: {FASTER}")
        if shutil.which("nvidia-smi") is not None:
            advice = "install torch with CUDA, as environment.yml does"
            return Check("GPU", False, "NVIDIA's driver is there, but this torch was built without CUDA", advice)
        return Check("GPU", False, "none: this torch was built without CUDA", "nothing to do: none is needed")
    device = device if device.type == "cuda" else torch.device("cuda")
    try:
        name, (major, minor) = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        free, total = torch.cuda.mem_get_info(device)
        ones = torch.ones(256, 256, device=device)
        works = float((ones @ ones).sum()) == 256.0**3
    except Exception as error:
        return Check("GPU", False, f"it fails: {_sentence(error)}", "update NVIDIA's driver, or run with --device cpu")
    finding = (
        f"{name}, compute capability {major}.{minor}, {_gib(free)} of {_gib(total)} free, CUDA {torch.version.cuda}, "
        f"driver for CUDA {_driver_version()}"
    )
    if not works:
        return Check("GPU", False, f"{finding}; a matrix product on it is wrong", "run with --device cpu")
    return Check("GPU", True, finding)


def _driver_version() -> str:
    """The newest CUDA that the driver serves; torch keeps the question to itself."""
    ask: Callable[[], int] | None = getattr(torch._C, "_cuda_getDriverVersion", None)
    number = ask() if ask is not None else 0
    return f"{number // 1000}.{number % 1000 // 10}" if number else "unknown"


def check_triton(device: torch.device) -> Check:
    """Triton: importable, and the same faces as plain torch."""
    try:
        version = importlib.import_module("triton").__version__
    except Exception as error:
        needed = "pip install triton" if device.type == "cuda" else "nothing to do: it is of use on an NVIDIA GPU only"
        return Check("Triton", False, f"cannot be imported: {_sentence(error)}", needed)
    if device.type != "cuda":
        return Check("Triton", True, f"{version}, not tried: it draws on an NVIDIA GPU only")
    advice = "Triton compiles with the system's C compiler: install gcc"
    return _compared("Triton", version, "triton", device, advice)


def check_pytorch3d(device: torch.device) -> Check:
    """PyTorch3D: importable, built for the device, and the same faces as plain torch."""
    advice = f"only for code that uses it already: {BY_HAND['pytorch3d']}"
    try:
        has_cuda = pytorch3d_has_cuda()
        version = importlib.metadata.version("pytorch3d")
    except (NeuraltexError, importlib.metadata.PackageNotFoundError) as error:
        missing = isinstance(error.__cause__, ModuleNotFoundError)
        finding = "not installed" if missing else f"cannot be imported: {_sentence(error.__cause__ or error)}"
        return Check("PyTorch3D", False, finding, advice)
    where = device if has_cuda else torch.device("cpu")
    built = f"{version}, built with{'' if has_cuda else 'out'} CUDA"
    return _compared("PyTorch3D", built, "pytorch3d", where, advice)


def _compared(name: str, version: str, backend: str, device: torch.device, advice: str) -> Check:
    """A backend against plain torch on the CPU."""
    try:
        found, seconds = _draw(backend, device)
        expected, _ = _draw("torch", torch.device("cpu"))
    except Exception as error:
        return Check(name, False, f"{version}; drawing with it on {device} fails: {_sentence(error)}", advice)
    num_wrong = _num_differing(found, expected)
    finding = f"{version}; on {device} {_speed(seconds)}, {_agreement(num_wrong, found)}"
    ok = num_wrong <= _tolerated(found)
    return Check(name, ok, finding, "" if ok else f"do not use backend='{backend}' here")


def check_codecs(device: torch.device) -> Check:
    """Codecs that cameras and phones record, beside H.264."""
    del device
    try:
        codec = importlib.import_module("av").Codec
    except Exception as error:
        return Check("other videos", False, f"PyAV cannot be imported: {_sentence(error)}", "pip install av")
    missing = []
    for name in ("hevc", "prores", "vp9", "av1"):
        try:
            codec(name, "r")
        except ValueError:
            missing.append(name)
    if missing:
        advice = "pip install av, whose wheels read them, or convert such videos to H.264 first"
        return Check("other videos", False, f"cannot read {', '.join(missing)}", advice)
    return Check("other videos", True, "reads HEVC, ProRes, VP9 and AV1")


def check_package(device: torch.device, *, module: str, extra: str, purpose: str, package: str | None = None) -> Check:
    """An optional package: importable; `package` is what the index calls it where that differs."""
    del device
    name = package or module
    advice = f"{purpose}: pip install 'neuraltex[{extra}]'"
    try:
        importlib.import_module(module)
        return Check(name, True, importlib.metadata.version(name))
    except ModuleNotFoundError:
        return Check(name, False, "not installed", advice)
    except Exception as error:
        return Check(name, False, f"cannot be imported: {_sentence(error)}", advice)


REQUIRED: tuple[Callable[[torch.device], Check], ...] = (
    check_torch,
    check_rasterizer,
    check_learning,
    check_video,
    check_memory,
    check_disk,
)
OPTIONAL: tuple[Callable[[torch.device], Check], ...] = (
    check_gpu,
    check_triton,
    check_pytorch3d,
    check_codecs,
    partial(check_package, module="pycolmap", extra="poses", purpose="to find cameras of a plain video"),
    partial(
        check_package,
        module="skimage",
        package="scikit-image",
        extra="reconstruct",
        purpose="to make a mesh of masked photographs",
    ),
    partial(check_package, module="open3d", extra="reconstruct", purpose="to make a mesh of photographs without masks"),
    partial(check_package, module="viser", extra="view", purpose="to look around in a run with the browser"),
    partial(check_package, module="lpips", extra="metrics", purpose="to score by LPIPS, too"),
)


def _draw(backend: str, device: torch.device) -> tuple[Fragments, float]:
    """Fragments of the little scene, and seconds a view once all is compiled and loaded."""
    mesh, cameras = _scene(device)
    fragments = rasterize(mesh.verts, mesh.faces, cameras, backend=backend)
    begin = time.perf_counter()
    again = rasterize(mesh.verts, mesh.faces, cameras, backend=backend)
    if int(again.mask.sum()) == 0 or not bool(again.zbuf.isfinite().all()):  # this also waits for the device
        raise RuntimeError("nothing was drawn")
    return fragments, (time.perf_counter() - begin) / len(cameras.K)


def _scene(device: torch.device) -> tuple[Mesh, Camera]:
    """A ball on a floor that passes under the camera, and two cameras."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    corners = [[-9.3, -1, -9], [9, -1, -9.1], [9.2, -1, 9], [-9, -1, 9.4]]
    verts = torch.cat([torch.tensor(ball.vertices), torch.tensor(corners, dtype=torch.float64)]).float()
    num_ball = len(ball.vertices)
    floor = torch.tensor([[0, 1, 2], [0, 2, 3]]) + num_ball
    faces = torch.cat([torch.tensor(ball.faces, dtype=torch.int64), floor])
    low, high = verts[:, :2].amin(0), verts[:, :2].amax(0)
    mesh = Mesh(
        verts=verts,
        faces=faces,
        verts_uv=(verts[:, :2] - low) / (high - low),
        faces_uv=faces,
        normals=torch.zeros_like(verts),
        faces_normals=faces,
        part_ids=torch.zeros(len(faces), dtype=torch.int64),
        part_names=("scene",),
    ).with_verts(verts)
    eye = torch.tensor([[3.07, 0.63, 1.21], [-1.33, 0.91, 2.83]])
    w2c = look_at(eye, torch.tensor([0.05, -0.1, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    return mesh.to(device), Camera.from_fov(w2c, 55.0, WIDTH, HEIGHT).to(device)


def _num_differing(found: Fragments, expected: Fragments) -> int:
    return int((found.pix_to_face.cpu() != expected.pix_to_face.cpu()).sum())


def _speed(seconds: float) -> str:
    return f"{float(f'{1e3 * seconds:.2g}'):g} ms a view of {WIDTH}x{HEIGHT}"


def _tolerated(fragments: Fragments) -> int:
    """Pixels whose centre a border passes within rounding: one in a thousand is more than ever seen."""
    return fragments.pix_to_face.numel() // 1000


def _agreement(num_wrong: int, fragments: Fragments) -> str:
    num_pixels = fragments.pix_to_face.numel()
    if num_wrong == 0:
        return f"the faces of plain torch in all {num_pixels:,} pixels"
    return f"other faces than plain torch in {num_wrong:,} of {num_pixels:,} pixels"


def _sentence(error: BaseException) -> str:
    """The first line of an error, with its kind."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
