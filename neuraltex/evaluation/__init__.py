"""Evaluation: a run folder comes in; measures on held-out views, pictures of them and a report go out.

Others render the same views beside the run, each given the same mesh, photographs and time: a texture on the same
surface, the decoder of 2019, a lumigraph, and splats.
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
