"""From the face at each pixel to what is seen of it: barycentrics, depth, UV, normal; forward and backward."""

from __future__ import annotations

import triton
import triton.language as tl

from neuraltex.kernels.triangles import edge_functions, edge_slopes, load_corners, load_vector


@triton.jit
def _pixels(num_pixels, width, height, BLOCK: tl.constexpr):
    """Flat pixel indices of this program, the view of each and its centre."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    active = pixel < num_pixels
    view = pixel // (width * height)
    local = (pixel - view * (width * height)).to(tl.int32)
    row = local // width
    return pixel, active, view, (local - row * width).to(tl.float32) + 0.5, row.to(tl.float32) + 0.5


@triton.jit
def _store_vector(base, row, x, y, z, active):
    tl.store(base + row * 3, x, mask=active)
    tl.store(base + row * 3 + 1, y, mask=active)
    tl.store(base + row * 3 + 2, z, mask=active)


@triton.jit
def _add_vector(base, row, x, y, z, active):
    tl.atomic_add(base + row * 3, x, mask=active, sem="relaxed")
    tl.atomic_add(base + row * 3 + 1, y, mask=active, sem="relaxed")
    tl.atomic_add(base + row * 3 + 2, z, mask=active, sem="relaxed")


@triton.jit
def _load_uv(verts_uv, row, active):
    return tl.load(verts_uv + row * 2, mask=active, other=0.0), tl.load(verts_uv + row * 2 + 1, mask=active, other=0.0)


@triton.jit
def surface_kernel(
    words, projected, faces, verts_uv, faces_uv, normals, faces_normals,
    pix_to_face, bary, zbuf, uv, normal_map, footprint, mask,
    num_pixels, num_verts, width, height,
    UV: tl.constexpr, NORMALS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Words of the visibility kernels, or face indices with -1 on the background, to surface buffers."""
    pixel, active, view, center_x, center_y = _pixels(num_pixels, width, height, BLOCK)
    # The face index is the lower half of a word; in a word that nobody took it reads -1.
    face = tl.load(words + pixel, mask=active, other=-1).to(tl.int32)
    seen = active & (face >= 0)
    tl.store(pix_to_face + pixel, face.to(tl.int64), mask=active)
    face = tl.where(seen, face, 0)
    x0, y0, z0, x1, y1, z1, x2, y2, z2, _i0, _i1, _i2 = load_corners(
        projected + view * num_verts * 3, faces, face, seen
    )
    e0, e1, e2 = edge_functions(x0, y0, z0, x1, y1, z1, x2, y2, z2, center_x, center_y)
    scale = 1.0 / tl.where(seen, e0 + e1 + e2, 1.0)
    b0, b1, b2 = e0 * scale, e1 * scale, e2 * scale
    _store_vector(bary, pixel, b0, b1, b2, active)
    tl.store(zbuf + pixel, b0 * z0 + b1 * z1 + b2 * z2, mask=active)
    if UV:
        u0, v0 = _load_uv(verts_uv, tl.load(faces_uv + face * 3, mask=seen, other=0), seen)
        u1, v1 = _load_uv(verts_uv, tl.load(faces_uv + face * 3 + 1, mask=seen, other=0), seen)
        u2, v2 = _load_uv(verts_uv, tl.load(faces_uv + face * 3 + 2, mask=seen, other=0), seen)
        u, v = b0 * u0 + b1 * u1 + b2 * u2, b0 * v0 + b1 * v1 + b2 * v2
        tl.store(uv + pixel * 2, u, mask=active)
        tl.store(uv + pixel * 2 + 1, v, mask=active)
        right0, right1, right2, down0, down1, down2 = edge_slopes(
            x0, y0, z0, x1, y1, z1, x2, y2, z2, center_x, center_y
        )
        u0, u1, u2, v0, v1, v2 = u0 - u, u1 - u, u2 - u, v0 - v, v1 - v, v2 - v
        ux, uy = right0 * u0 + right1 * u1 + right2 * u2, down0 * u0 + down1 * u1 + down2 * u2
        vx, vy = right0 * v0 + right1 * v1 + right2 * v2, down0 * v0 + down1 * v1 + down2 * v2
        ux, uy, vx, vy = ux * scale, uy * scale, vx * scale, vy * scale
        # The larger singular value of the Jacobian.
        squares, area = ux * ux + uy * uy + vx * vx + vy * vy, ux * vy - uy * vx
        longest = 0.5 * (squares + tl.sqrt(tl.maximum(squares * squares - 4.0 * area * area, 0.0)))
        tl.store(footprint + pixel, tl.where(seen, tl.sqrt(longest), 0.0), mask=active)
    if NORMALS:
        nx0, ny0, nz0 = load_vector(normals, tl.load(faces_normals + face * 3, mask=seen, other=0), seen)
        nx1, ny1, nz1 = load_vector(normals, tl.load(faces_normals + face * 3 + 1, mask=seen, other=0), seen)
        nx2, ny2, nz2 = load_vector(normals, tl.load(faces_normals + face * 3 + 2, mask=seen, other=0), seen)
        nx, ny, nz = b0 * nx0 + b1 * nx1 + b2 * nx2, b0 * ny0 + b1 * ny1 + b2 * ny2, b0 * nz0 + b1 * nz1 + b2 * nz2
        inverse = 1.0 / tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
        _store_vector(normal_map, pixel, nx * inverse, ny * inverse, nz * inverse, active)
        tl.store(mask + pixel, seen, mask=active)


@triton.jit
def surface_backward_kernel(
    pix_to_face, projected, faces, verts_uv, faces_uv, normals, faces_normals,
    grad_bary, grad_zbuf, grad_uv, grad_normal_map,
    grad_projected, grad_verts_uv, grad_normals,
    num_pixels, num_verts, width, height,
    UV: tl.constexpr, NORMALS: tl.constexpr,
    TO_PROJECTED: tl.constexpr, TO_UV: tl.constexpr, TO_NORMALS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of the buffers to the corners of the faces that were seen, added up by float atomics."""
    pixel, active, view, center_x, center_y = _pixels(num_pixels, width, height, BLOCK)
    face = tl.load(pix_to_face + pixel, mask=active, other=-1).to(tl.int32)
    seen = active & (face >= 0)
    face = tl.where(seen, face, 0)
    corners = projected + view * num_verts * 3
    x0, y0, z0, x1, y1, z1, x2, y2, z2, i0, i1, i2 = load_corners(corners, faces, face, seen)
    e0, e1, e2 = edge_functions(x0, y0, z0, x1, y1, z1, x2, y2, z2, center_x, center_y)
    scale = 1.0 / tl.where(seen, e0 + e1 + e2, 1.0)
    b0, b1, b2 = e0 * scale, e1 * scale, e2 * scale
    g0, g1, g2 = load_vector(grad_bary, pixel, seen)
    depth_grad = tl.load(grad_zbuf + pixel, mask=seen, other=0.0)
    g0, g1, g2 = g0 + depth_grad * z0, g1 + depth_grad * z1, g2 + depth_grad * z2
    if UV:
        gu, gv = _load_uv(grad_uv, pixel, seen)
        t0 = tl.load(faces_uv + face * 3, mask=seen, other=0)
        t1 = tl.load(faces_uv + face * 3 + 1, mask=seen, other=0)
        t2 = tl.load(faces_uv + face * 3 + 2, mask=seen, other=0)
        u0, v0 = _load_uv(verts_uv, t0, seen)
        u1, v1 = _load_uv(verts_uv, t1, seen)
        u2, v2 = _load_uv(verts_uv, t2, seen)
        g0, g1, g2 = g0 + gu * u0 + gv * v0, g1 + gu * u1 + gv * v1, g2 + gu * u2 + gv * v2
        if TO_UV:
            tl.atomic_add(grad_verts_uv + t0 * 2, b0 * gu, mask=seen, sem="relaxed")
            tl.atomic_add(grad_verts_uv + t0 * 2 + 1, b0 * gv, mask=seen, sem="relaxed")
            tl.atomic_add(grad_verts_uv + t1 * 2, b1 * gu, mask=seen, sem="relaxed")
            tl.atomic_add(grad_verts_uv + t1 * 2 + 1, b1 * gv, mask=seen, sem="relaxed")
            tl.atomic_add(grad_verts_uv + t2 * 2, b2 * gu, mask=seen, sem="relaxed")
            tl.atomic_add(grad_verts_uv + t2 * 2 + 1, b2 * gv, mask=seen, sem="relaxed")
    if NORMALS:
        n0 = tl.load(faces_normals + face * 3, mask=seen, other=0)
        n1 = tl.load(faces_normals + face * 3 + 1, mask=seen, other=0)
        n2 = tl.load(faces_normals + face * 3 + 2, mask=seen, other=0)
        nx0, ny0, nz0 = load_vector(normals, n0, seen)
        nx1, ny1, nz1 = load_vector(normals, n1, seen)
        nx2, ny2, nz2 = load_vector(normals, n2, seen)
        nx, ny, nz = b0 * nx0 + b1 * nx1 + b2 * nx2, b0 * ny0 + b1 * ny1 + b2 * ny2, b0 * nz0 + b1 * nz1 + b2 * nz2
        inverse = 1.0 / tl.maximum(tl.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
        nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
        gx, gy, gz = load_vector(grad_normal_map, pixel, seen)
        along = gx * nx + gy * ny + gz * nz
        gx, gy, gz = (gx - along * nx) * inverse, (gy - along * ny) * inverse, (gz - along * nz) * inverse
        g0 += gx * nx0 + gy * ny0 + gz * nz0
        g1 += gx * nx1 + gy * ny1 + gz * nz1
        g2 += gx * nx2 + gy * ny2 + gz * nz2
        if TO_NORMALS:
            _add_vector(grad_normals, n0, b0 * gx, b0 * gy, b0 * gz, seen)
            _add_vector(grad_normals, n1, b1 * gx, b1 * gy, b1 * gz, seen)
            _add_vector(grad_normals, n2, b2 * gx, b2 * gy, b2 * gz, seen)
    if TO_PROJECTED:
        mean = g0 * b0 + g1 * b1 + g2 * b2
        g0, g1, g2 = (g0 - mean) * scale, (g1 - mean) * scale, (g2 - mean) * scale
        q0x, q0y = x0 - center_x * z0, y0 - center_y * z0
        q1x, q1y = x1 - center_x * z1, y1 - center_y * z1
        q2x, q2y = x2 - center_x * z2, y2 - center_y * z2
        gx, gy = g2 * q1y - g1 * q2y, g1 * q2x - g2 * q1x
        _add_vector(
            grad_projected + view * num_verts * 3, i0, gx, gy, b0 * depth_grad - center_x * gx - center_y * gy, seen
        )
        gx, gy = g0 * q2y - g2 * q0y, g2 * q0x - g0 * q2x
        _add_vector(
            grad_projected + view * num_verts * 3, i1, gx, gy, b1 * depth_grad - center_x * gx - center_y * gy, seen
        )
        gx, gy = g1 * q0y - g0 * q1y, g0 * q1x - g1 * q0x
        _add_vector(
            grad_projected + view * num_verts * 3, i2, gx, gy, b2 * depth_grad - center_x * gx - center_y * gy, seen
        )


@triton.jit
def _pixel_to_world(K, w2c, view):
    """The nine entries of `R^T K^-1`, which takes (column, row, 1) to a world direction."""
    k0, k1, k2 = tl.load(K + view * 9), tl.load(K + view * 9 + 1), tl.load(K + view * 9 + 2)
    k3, k4, k5 = tl.load(K + view * 9 + 3), tl.load(K + view * 9 + 4), tl.load(K + view * 9 + 5)
    k6, k7, k8 = tl.load(K + view * 9 + 6), tl.load(K + view * 9 + 7), tl.load(K + view * 9 + 8)
    a0, a1, a2 = k4 * k8 - k5 * k7, k2 * k7 - k1 * k8, k1 * k5 - k2 * k4
    a3, a4, a5 = k5 * k6 - k3 * k8, k0 * k8 - k2 * k6, k2 * k3 - k0 * k5
    a6, a7, a8 = k3 * k7 - k4 * k6, k1 * k6 - k0 * k7, k0 * k4 - k1 * k3
    inverse = 1.0 / (k0 * a0 + k1 * a3 + k2 * a6)
    r = w2c + view * 16
    r0, r1, r2 = tl.load(r) * inverse, tl.load(r + 4) * inverse, tl.load(r + 8) * inverse
    r3, r4, r5 = tl.load(r + 1) * inverse, tl.load(r + 5) * inverse, tl.load(r + 9) * inverse
    r6, r7, r8 = tl.load(r + 2) * inverse, tl.load(r + 6) * inverse, tl.load(r + 10) * inverse
    return (
        r0 * a0 + r1 * a3 + r2 * a6, r0 * a1 + r1 * a4 + r2 * a7, r0 * a2 + r1 * a5 + r2 * a8,
        r3 * a0 + r4 * a3 + r5 * a6, r3 * a1 + r4 * a4 + r5 * a7, r3 * a2 + r4 * a5 + r5 * a8,
        r6 * a0 + r7 * a3 + r8 * a6, r6 * a1 + r7 * a4 + r8 * a7, r6 * a2 + r7 * a5 + r8 * a8,
    )  # fmt: skip


@triton.jit
def _ray(K, w2c, view, pixel, width):
    m0, m1, m2, m3, m4, m5, m6, m7, m8 = _pixel_to_world(K, w2c, view)
    row = pixel // width
    center_x, center_y = (pixel - row * width).to(tl.float32) + 0.5, row.to(tl.float32) + 0.5
    x, y, z = m0 * center_x + m1 * center_y + m2, m3 * center_x + m4 * center_y + m5, m6 * center_x + m7 * center_y + m8
    inverse = 1.0 / tl.sqrt(x * x + y * y + z * z)
    return x * inverse, y * inverse, z * inverse, inverse, center_x, center_y


@triton.jit
def ray_kernel(K, w2c, dirs, num_pixels, width, BLOCK: tl.constexpr):
    """Unit world directions through the pixel centres of each view."""
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y, z, _inverse, _cx, _cy = _ray(K, w2c, view, pixel, width)
    _store_vector(dirs + view * num_pixels * 3, pixel, x, y, z, pixel < num_pixels)


@triton.jit
def ray_backward_kernel(K, w2c, grad_dirs, grad_matrix, num_pixels, width, BLOCK: tl.constexpr):
    """Gradient to `R^T K^-1` `[B, 3, 3]`."""
    view = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x, y, z, inverse, cx, cy = _ray(K, w2c, view, pixel, width)
    gx, gy, gz = load_vector(grad_dirs + view * num_pixels * 3, pixel, pixel < num_pixels)
    along = gx * x + gy * y + gz * z
    gx, gy, gz = (gx - along * x) * inverse, (gy - along * y) * inverse, (gz - along * z) * inverse
    to = grad_matrix + view * 9
    tl.atomic_add(to, tl.sum(gx * cx), sem="relaxed")
    tl.atomic_add(to + 1, tl.sum(gx * cy), sem="relaxed")
    tl.atomic_add(to + 2, tl.sum(gx), sem="relaxed")
    tl.atomic_add(to + 3, tl.sum(gy * cx), sem="relaxed")
    tl.atomic_add(to + 4, tl.sum(gy * cy), sem="relaxed")
    tl.atomic_add(to + 5, tl.sum(gy), sem="relaxed")
    tl.atomic_add(to + 6, tl.sum(gz * cx), sem="relaxed")
    tl.atomic_add(to + 7, tl.sum(gz * cy), sem="relaxed")
    tl.atomic_add(to + 8, tl.sum(gz), sem="relaxed")
