"""Evaluation: a run folder comes in; measures on held-out views and pictures of them go out.

The same surface with an optimised RGB texture is scored beside it, on the same views and pixels.
"""

from neuraltex.evaluation.evaluate import evaluate
from neuraltex.evaluation.flicker import flicker
from neuraltex.evaluation.flip import flip
from neuraltex.evaluation.lumigraph import Lumigraph
from neuraltex.evaluation.metrics import make_lpips, psnr, ssim
from neuraltex.evaluation.textured_mesh import TexturedMesh, fit_textured_mesh, load_textured_mesh, save_textured_mesh

__all__ = [
    "Lumigraph",
    "TexturedMesh",
    "evaluate",
    "fit_textured_mesh",
    "flicker",
    "flip",
    "load_textured_mesh",
    "make_lpips",
    "psnr",
    "save_textured_mesh",
    "ssim",
]
