"""The renderer's loops over light, compiled: cast shadows, lamps, dark mouths, shaded eyes."""

from math import exp, sqrt

import numpy as np
from numba import njit

SHADOW_GRID = 96  # cells of the light's depth map over the head
SHADOW_CELL_MM = 2.9
SHADOW_CENTRE_MM = (10.0, 40.0)  # y and z of its middle
SHADOW_BIAS_MM = 3.0  # a surface does not shade itself
SHADOW_SOFT_MM = 9.0  # depth over which a shadow becomes full
MOUTH_DEPTH_MM = (4.0, 14.0)  # the inside darkens by exp((z - z_lips + first) / second)
SHINE_POWER = 14.0


@njit(cache=True)
def light_frame(local):
    """Return two axes across the light and the light itself, rows of a (3, 3)."""
    frame = np.empty((3, 3), np.float32)
    x, y, z = local
    if abs(y) < 0.9:
        a, b, c = -z, np.float32(0.0), x  # local x (0, 1, 0)
    else:
        a, b, c = np.float32(0.0), z, -y
    length = sqrt(a * a + b * b + c * c)
    a, b, c = a / length, b / length, c / length
    frame[0] = a, b, c
    frame[1] = y * c - z * b, z * a - x * c, x * b - y * a
    frame[2] = x, y, z
    return frame


@njit(fastmath=True, error_model='numpy', cache=True, inline='always')
def _light_cell(vertices, i, frame):
    half = np.float32(SHADOW_GRID / 2)
    scale = np.float32(1.0 / SHADOW_CELL_MM)
    x = vertices[i, 0]
    y = vertices[i, 1] - np.float32(SHADOW_CENTRE_MM[0])
    z = vertices[i, 2] - np.float32(SHADOW_CENTRE_MM[1])
    u = frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z
    v = frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z
    d = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z
    return u * scale + half, v * scale + half, d


@njit(fastmath=True, error_model='numpy', cache=True)
def light_depth(vertices, normals, triangles, flags, caster, blocks, frame, cells, grid):
    """Write how near to the lamp the first caster in each cell is."""
    size, one = grid.shape[0], np.float32(1.0)
    grid[:] = np.float32(-1e6)
    for p in range(blocks.shape[0]):
        for i in range(blocks[p, 0], blocks[p, 1]):
            cells[i, 0], cells[i, 1], cells[i, 2] = _light_cell(vertices, i, frame)
        for t in range(blocks[p, 2], blocks[p, 3]):
            if not flags[t] & caster:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x0, y0, x1, y1 = cells[a, 0], cells[a, 1], cells[b, 0], cells[b, 1]
            x2, y2 = cells[c, 0], cells[c, 1]
            x3, y3, x4, y4 = min(x0, x1, x2), min(y0, y1, y2), max(x0, x1, x2), max(y0, y1, y2)
            if min(x3, y3) < 0 or max(x4, y4) >= size:
                continue
            left, right = size - np.int32(size - x3), np.int32(x4)
            top, bottom = size - np.int32(size - y3), np.int32(y4)
            if left > right or top > bottom:
                continue
            facing = normals[a, 0] * frame[2, 0] + normals[a, 1] * frame[2, 1]
            if facing + normals[a, 2] * frame[2, 2] < np.float32(-0.2):
                continue  # what looks away from the lamp lies behind what looks to it
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if abs(area) < 1e-6:
                continue
            inverse = one / area
            ax1, ay1 = (y2 - y0) * inverse, -(x2 - x0) * inverse
            ax2, ay2 = -(y1 - y0) * inverse, (x1 - x0) * inverse
            near0 = cells[a, 2]
            near1, near2 = cells[b, 2] - near0, cells[c, 2] - near0
            px = np.float32(left) - x0
            for y in range(top, bottom + 1):
                py = np.float32(y) - y0
                w1, w2 = px * ax1 + py * ay1, px * ax2 + py * ay2
                for x in range(left, right + 1):
                    near = near0 + w1 * near1 + w2 * near2
                    if (min(w1, w2, one - w1 - w2) >= 0) & (near > grid[y, x]):
                        grid[y, x] = near
                    w1 += ax1
                    w2 += ax2


@njit(fastmath=True, error_model='numpy', cache=True)
def _lit(u, v, d, grid):
    """Return how much of the lamp is seen from a place, 0..1, softened over 3 x 3 cells."""
    size, zero, one = grid.shape[0], np.float32(0.0), np.float32(1.0)
    u, v = u - np.float32(0.5), v - np.float32(0.5)
    if min(u, v) < 0 or max(u, v) >= size - 2:
        return one
    x, y = np.int32(u), np.int32(v)
    right, bottom = u - np.float32(x), v - np.float32(y)
    d += np.float32(SHADOW_BIAS_MM)
    total = zero
    for j in range(3):
        row = one - bottom if j == 0 else (bottom if j == 2 else one)
        first = min(one, max(zero, (grid[y + j, x] - d) * np.float32(1.0 / SHADOW_SOFT_MM)))
        second = min(one, max(zero, (grid[y + j, x + 1] - d) * np.float32(1.0 / SHADOW_SOFT_MM)))
        third = min(one, max(zero, (grid[y + j, x + 2] - d) * np.float32(1.0 / SHADOW_SOFT_MM)))
        total += row * ((one - right) * first + second + right * third)
    return one - total * np.float32(0.25)


@njit(fastmath=True, error_model='numpy', cache=True)
def shade(
    shape, normals, follow, blocks, rotation, lamps, room, sweep, occlusion, cells, grid, cast,
    skin_count, screen,
):  # fmt: skip
    """
    Write light and sheen of each vertex.

    lamps (L, 5): direction, strength, softness; the first casts shadows and shines. room: light
    from all around, sheen. sweep: direction x, y (mm on the screen), place, width, depth of a
    shadow that passes through the first lamp's light.
    """
    # Half way between lamp and viewer, for the sheen.
    hx, hy, hz = lamps[0, 0], lamps[0, 1], lamps[0, 2] + np.float32(1.0)
    h = sqrt(hx * hx + hy * hy + hz * hz) + np.float32(1e-6)
    hx, hy, hz = hx / h, hy / h, hz / h
    zero, one = np.float32(0.0), np.float32(1.0)
    for p in range(blocks.shape[0]):
        skin = blocks[p, 0] < skin_count
        for i in range(blocks[p, 0], blocks[p, 1]):
            w = follow[i]
            nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
            tx = rotation[0, 0] * nx + rotation[0, 1] * ny + rotation[0, 2] * nz
            ty = rotation[1, 0] * nx + rotation[1, 1] * ny + rotation[1, 2] * nz
            tz = rotation[2, 0] * nx + rotation[2, 1] * ny + rotation[2, 2] * nz
            nx, ny, nz = w * tx + (one - w) * nx, w * ty + (one - w) * ny, w * tz + (one - w) * nz
            on_skin = skin and i < skin_count
            if nz < 0 and not on_skin:  # sheets seen from behind
                nx, ny, nz = -nx, -ny, -nz
            hollow = occlusion[i] if on_skin else one
            total = room[0] * (np.float32(0.75) + np.float32(0.25) * ny) * hollow
            part = np.float32(0.4) + np.float32(0.6) * hollow
            for k in range(1, lamps.shape[0]):
                facing = nx * lamps[k, 0] + ny * lamps[k, 1] + nz * lamps[k, 2]
                soft = (facing + lamps[k, 4]) / (one + lamps[k, 4])
                if soft > 0:
                    total += lamps[k, 3] * soft * part
            sheen = zero
            facing = nx * lamps[0, 0] + ny * lamps[0, 1] + nz * lamps[0, 2]
            soft = (facing + lamps[0, 4]) / (one + lamps[0, 4])
            if soft > 0:
                seen = lamps[0, 3]
                if sweep[4] > 0:
                    away = shape[i, 0] * sweep[0] + shape[i, 1] * sweep[1] - sweep[2]
                    away /= sweep[3]
                    if abs(away) < 3:
                        seen *= one - sweep[4] * np.float32(exp(-away * away))
                if cast and on_skin and nz > -0.3:
                    seen *= _lit(cells[i, 0], cells[i, 1], cells[i, 2], grid)
                total += seen * soft * part
                if on_skin:
                    glance = nx * hx + ny * hy + nz * hz
                    if glance > 0.5:
                        sheen = room[1] * seen * np.float32(glance**SHINE_POWER) * hollow
            screen[i, 3] = total
            screen[i, 4] = sheen


@njit(fastmath=True, error_model='numpy', cache=True)
def darken_mouth(shape, first, teeth, lips, open_teeth, screen):
    for k in range(teeth.shape[0]):
        i = first + k
        depth = (shape[i, 2] - lips + np.float32(MOUTH_DEPTH_MM[0])) / np.float32(
            MOUTH_DEPTH_MM[1]
        )
        dark = min(np.float32(1.0), np.float32(exp(depth)))
        screen[i, 3] *= dark * (open_teeth if teeth[k] else np.float32(1.0))


@njit(fastmath=True, error_model='numpy', cache=True)
def darken_eye(shape, index, upper, lower, left, right, screen):
    # Lids and lashes shade the top 7 mm of the opening, the lower lid 2 mm, the corners 5 mm.
    one = np.float32(1.0)
    for i in index:
        x, y = shape[i, 0], shape[i, 1]
        top = min(one, max(np.float32(0.0), (upper - y) / np.float32(7.0)))
        low = min(one, max(np.float32(0.0), (y - lower) / np.float32(2.0)))
        side = min(one, max(np.float32(0.0), min(x - left, right - x) / np.float32(5.0)))
        shade = (np.float32(0.35) + np.float32(0.65) * top) * (
            np.float32(0.7) + np.float32(0.3) * low
        )
        screen[i, 3] *= shade * (np.float32(0.65) + np.float32(0.35) * side)
