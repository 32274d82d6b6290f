"""The basis is orthonormal, has the parity of its band, and matches an independent definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.shading import sh_basis


def test_basis_is_orthonormal_over_the_sphere():
    # Gauss-Legendre in z times equal steps in azimuth integrates polynomials of this degree exactly.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    azimuth = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    z = torch.from_numpy(nodes)[:, None].expand(8, 16)
    radius = (1 - z * z).sqrt()
    directions = torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), z], dim=-1).reshape(-1, 3)
    weight = (torch.from_numpy(weights)[:, None] * (2 * math.pi / 16)).expand(8, 16).reshape(-1)
    basis = sh_basis(directions, 4)
    gram = basis.T @ (basis * weight[:, None])
    # measured 9e-16
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=1e-12, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, math.pi - 0.05), st.floats(-math.pi, math.pi))
def test_basis_equals_associated_legendre_functions(theta, phi):
    """Real harmonics from derivatives of (z² - 1)^l, without the Condon-Shortley phase."""
    z, expected = math.cos(theta), []
    for band in range(4):
        rodrigues = np.polynomial.Polynomial([-1, 0, 1]) ** band
        for m in range(-band, band + 1):
            order = abs(m)
            legendre = (1 - z * z) ** (order / 2) * rodrigues.deriv(band + order)(z) / (2**band * math.factorial(band))
            norm = (2 * band + 1) / (4 * math.pi) * math.factorial(band - order) / math.factorial(band + order)
            angle = 1.0 if m == 0 else math.sqrt(2) * (math.cos(m * phi) if m > 0 else math.sin(order * phi))
            expected.append(math.sqrt(norm) * legendre * angle)
    direction = torch.tensor([math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), z], dtype=torch.float64)
    # measured 2e-15
    torch.testing.assert_close(sh_basis(direction, 4), torch.tensor(expected).double(), atol=1e-12, rtol=0)


def test_the_ninth_function_is_the_difference_of_squares():
    directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1)
    x, y, _ = directions.unbind(-1)
    # measured 1e-16
    torch.testing.assert_close(sh_basis(directions)[:, 8], 0.5462742152960396 * (x * x - y * y), atol=1e-12, rtol=0)


def test_bands_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_bands"):
        sh_basis(torch.zeros(1, 3), 5)
