"""Laws of the rotation functions."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuraltex.cameras.rotations import (
    matrix_from_quaternion,
    nearest_rotation,
    quaternion_from_matrix,
    slerp,
    so3_exp,
    so3_log,
)

component = st.floats(-1.0, 1.0).filter(lambda x: x == 0 or abs(x) > 1e-6)
axis = st.tuples(component, component, component).filter(lambda v: math.hypot(*v) > 0.1)


def turn(v: tuple[float, float, float], angle: float) -> torch.Tensor:
    vector = torch.tensor(v, dtype=torch.float64)
    return vector / vector.norm() * angle


@settings(deadline=None, max_examples=100)
@given(axis, st.one_of(st.floats(0.0, math.pi - 1e-6), st.floats(0.0, 1e-3), st.floats(3.14, math.pi - 1e-9)))
def test_log_undoes_exp(v, angle):
    vector = turn(v, angle)
    # Measured: at most 6e-15 except within 1e-6 of pi, where the axis may flip with rounding.
    torch.testing.assert_close(so3_log(so3_exp(vector)), vector, atol=1e-11, rtol=0)


@settings(deadline=None, max_examples=50)
@given(axis, st.floats(0.0, math.pi))
def test_exp_is_a_rotation_about_its_axis(v, angle):
    vector = turn(v, angle)
    rotation = so3_exp(vector)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(rotation @ vector, vector, atol=1e-12, rtol=0)
    assert float(torch.linalg.det(rotation)) > 0.999


def test_exp_of_a_quarter_turn_about_z():
    rotation = so3_exp(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))
    torch.testing.assert_close(rotation @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0.0, 1, 0]).double())


def test_exp_has_gradients_at_zero():
    assert torch.autograd.gradcheck(so3_exp, torch.zeros(2, 3, dtype=torch.float64, requires_grad=True))


@settings(deadline=None, max_examples=100)
@given(axis, st.floats(0.0, math.pi))
def test_quaternions_round_trip(v, angle):
    rotation = so3_exp(turn(v, angle))
    torch.testing.assert_close(matrix_from_quaternion(quaternion_from_matrix(rotation)), rotation, atol=1e-12, rtol=0)


def test_quaternion_of_a_half_turn_about_y():
    half_turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    assert quaternion_from_matrix(half_turn).abs().tolist() == [0.0, 0.0, 1.0, 0.0]


@settings(deadline=None, max_examples=50)
@given(axis, axis, st.floats(0.0, 3.0), st.floats(0.0, 1.0))
def test_slerp_turns_evenly(v, w, angle, amount):
    start = so3_exp(turn(w, 1.0))
    end = start @ so3_exp(turn(v, angle))
    between = slerp(start, end, torch.tensor(amount, dtype=torch.float64))
    turned = so3_log(start.T @ between).norm()
    torch.testing.assert_close(turned, torch.tensor(angle * amount, dtype=torch.float64), atol=1e-10, rtol=0)


def test_nearest_rotation_never_mirrors():
    mirrored = torch.diag(torch.tensor([1.0, 1.0, -0.1], dtype=torch.float64))
    torch.testing.assert_close(nearest_rotation(mirrored), torch.eye(3, dtype=torch.float64))
