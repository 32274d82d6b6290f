"""Triton kernels: the inner loops of `raster`, `shading` and `training` on a GPU, each with a plain-PyTorch twin there.

Raw pointers come in, buffers are filled in place. The functions that allocate, launch and differentiate stand beside
the twins. Floating-point contraction is off where two faces must compute exactly opposite edge functions.
"""
