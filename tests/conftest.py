"""Shapes in annotations are checked while tests run; shared scenes and markers."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core: threads of two that wait for each other take longer than one. Read when torch is imported,
    # and by the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import neuraltex  # noqa: F401 - before torch, for the sake of its threads
import tests.typecheck  # noqa: F401 - found by its name below

# Left in place: modules of the package are checked whenever they are first imported.
# Not the command line, whose dataclasses hold placeholders until they are parsed, nor what scripts call, which tells
# wrong arguments in words of its own.
EDITING = tuple(f"editing.{name}" for name in ("clone", "light", "memory", "picture", "refined", "unfold"))
CHECKED = (
    "cameras",
    "capture",
    *EDITING,
    "evaluation",
    "geometry",
    "pipeline",
    "raster",
    "reenactment",
    "rendering",
    "shading",
    "training",
    "viewer",
)
install_import_hook([f"neuraltex.{name}" for name in CHECKED], "tests.typecheck.check")

import torch  # noqa: E402 - after the hook, like everything that may import the package

if not torch.cuda.is_available():
    # Without a GPU the kernels run in Triton's interpreter, which has to be known before they are imported.
    os.environ["TRITON_INTERPRET"] = "1"

from tests.ball import few_lamps, thing, trained  # noqa: E402, F401 - fixtures of all tests
from tests.viewer.browser import find_chromium  # noqa: E402

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two, as each imports torch and makes the fixtures of its tests; none for single files, which start sooner so."""
    if all(Path(arg.partition("::")[0]).is_file() for arg in config.args):
        return 0
    return min(2, os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, saying why."""
    try:
        import pytorch3d  # noqa: F401

        has_pytorch3d = True
    except ImportError:
        has_pytorch3d = False
    reasons = {
        "cuda": None if torch.cuda.is_available() else "needs a CUDA device",
        "pytorch3d": None if has_pytorch3d else "needs PyTorch3D",
        "browser": None if find_chromium() else "needs Chromium (Debian: apt-get install chromium)",
        "captures": None if CAPTURES.is_dir() else "needs the test captures, which lie outside the repository",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason is not None and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def captures() -> Path:
    """Folder of real captures."""
    return CAPTURES
