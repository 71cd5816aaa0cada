"""
The renderer's loops over vertices, compiled: deform, place, shadow, shade.

`blocks` are rows of (first vertex, end, first triangle, end): what is drawn of the model.
A row of `screen` is x, y, 1 / depth, light, sheen, u, v, alpha.
"""

from math import ceil, exp, floor, sqrt

import numpy as np
from numba import njit

SHADOW_GRID = 96  # cells of the light's depth map over the head
SHADOW_CELL_MM = 2.9
SHADOW_CENTRE_MM = (10.0, 40.0)  # y and z of its middle
SHADOW_BIAS_MM = 3.0  # a surface does not shade itself
SHADOW_SOFT_MM = 9.0  # depth over which a shadow becomes full
RING_SIZE = 8
OCCLUSION = (1.1, 1.3)  # darkening per unit of hollow at each radius
MOUTH_DEPTH_MM = (4.0, 14.0)  # the inside darkens by exp((z - z_lips + first) / second)
SHINE_POWER = 14.0


@njit(fastmath=True, cache=True)
def vertex_normals(vertices, triangles, blocks, normals):
    """Write unit normals, the area-weighted mean of the triangles around each vertex."""
    for p in range(blocks.shape[0]):
        normals[blocks[p, 0] : blocks[p, 1]] = 0.0
        for t in range(blocks[p, 2], blocks[p, 3]):
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ux = vertices[b, 0] - vertices[a, 0]
            uy = vertices[b, 1] - vertices[a, 1]
            uz = vertices[b, 2] - vertices[a, 2]
            vx = vertices[c, 0] - vertices[a, 0]
            vy = vertices[c, 1] - vertices[a, 1]
            vz = vertices[c, 2] - vertices[a, 2]
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            for v in (a, b, c):
                normals[v, 0] += nx
                normals[v, 1] += ny
                normals[v, 2] += nz
        for v in range(blocks[p, 0], blocks[p, 1]):
            x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
            inverse = np.float32(1.0) / (sqrt(x * x + y * y + z * z) + np.float32(1e-9))
            normals[v, 0], normals[v, 1], normals[v, 2] = x * inverse, y * inverse, z * inverse


@njit(cache=True)
def find_rings(points, radius, index):
    """Write for each point RING_SIZE others about a radius away; itself where none is."""
    # Of all between 0.6 and 1.4 radii the ones nearest to evenly spread directions.
    axes = np.empty((RING_SIZE, 2), np.float32)
    for k in range(RING_SIZE):
        a = 2.0 * np.pi * k / RING_SIZE
        axes[k, 0], axes[k, 1] = np.cos(a), np.sin(a)
    best = np.empty(RING_SIZE, np.float32)
    for i in range(points.shape[0]):
        best[:] = 0.5
        index[i, :] = i
        for j in range(points.shape[0]):
            dx, dy = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1]
            if abs(dx) > 1.4 * radius or abs(dy) > 1.4 * radius:
                continue
            dz = points[j, 2] - points[i, 2]
            d = sqrt(dx * dx + dy * dy + dz * dz)
            if d < 0.6 * radius or d > 1.4 * radius:
                continue
            flat = sqrt(dx * dx + dy * dy) + 1e-6
            for k in range(RING_SIZE):
                score = (dx * axes[k, 0] + dy * axes[k, 1]) / flat - abs(d / radius - 1.0)
                if score > best[k]:
                    best[k] = score
                    index[i, k] = j


@njit(fastmath=True, cache=True)
def hollow(vertices, normals, index, rings, out):
    """Write (n, 2): how far the surface around rises above each vertex, per mm of radius."""
    for n in range(index.shape[0]):
        i = index[n]
        for r in range(2):
            total = np.float32(0.0)
            for k in range(rings.shape[2]):
                j = rings[r, i, k]
                dx = vertices[j, 0] - vertices[i, 0]
                dy = vertices[j, 1] - vertices[i, 1]
                dz = vertices[j, 2] - vertices[i, 2]
                height = dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]
                total += height / (sqrt(dx * dx + dy * dy + dz * dz) + np.float32(1e-3))
            out[i, r] = total / np.float32(rings.shape[2])


@njit(fastmath=True, cache=True)
def occlude(hollow, rest, occlusion):
    # The skins carry the shade of the resting face: a third of it is drawn, changes in full.
    for i in range(hollow.shape[0]):
        dark = np.float32(1.0)
        for r in range(2):
            dark -= np.float32(OCCLUSION[r]) * (hollow[i, r] - np.float32(0.67) * rest[i, r])
        occlusion[i] = min(np.float32(1.15), max(np.float32(0.25), dark))


@njit(fastmath=True, cache=True)
def deform(base, weights, start, index, delta, give, last, out):
    """Write base + shapes; `give` is how far a vertex follows, those from `last` on do not."""
    out[:] = base
    for s in range(weights.shape[0]):
        w = weights[s]
        if abs(w) < 1e-4:
            continue
        for k in range(start[s], start[s + 1]):
            i = index[k]
            if i >= last:
                break
            f = w * give[i]
            out[i, 0] += f * delta[k, 0]
            out[i, 1] += f * delta[k, 1]
            out[i, 2] += f * delta[k, 2]


@njit(fastmath=True, cache=True)
def turn(vertices, index, centre, rotation):
    for i in index:
        x = vertices[i, 0] - centre[0]
        y = vertices[i, 1] - centre[1]
        z = vertices[i, 2] - centre[2]
        for k in range(3):
            vertices[i, k] = (
                centre[k] + rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
            )


@njit(fastmath=True, cache=True)
def place(shape, follow, blocks, rotation, head, body, pivot, focal, distance, cx, cy, screen):
    """Write where the vertices fall on the screen; a pinhole at z = distance looks to -z."""
    for p in range(blocks.shape[0]):
        for i in range(blocks[p, 0], blocks[p, 1]):
            w = follow[i]
            x, y, z = shape[i, 0] - pivot[0], shape[i, 1] - pivot[1], shape[i, 2] - pivot[2]
            tx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + pivot[0] + head[0]
            ty = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + pivot[1] + head[1]
            tz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + pivot[2] + head[2]
            o = np.float32(1.0) - w
            tx = w * tx + o * (shape[i, 0] + body[0])
            ty = w * ty + o * (shape[i, 1] + body[1])
            tz = w * tz + o * (shape[i, 2] + body[2])
            inverse = np.float32(1.0) / (distance - tz)
            screen[i, 0] = cx + focal * tx * inverse
            screen[i, 1] = cy - focal * ty * inverse
            screen[i, 2] = inverse


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


@njit(fastmath=True, cache=True, inline='always')
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


@njit(fastmath=True, cache=True)
def light_depth(vertices, normals, triangles, flags, caster, blocks, frame, cells, grid):
    """Write how near to the lamp the first caster in each cell is."""
    size = grid.shape[0]
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
            facing = normals[a, 0] * frame[2, 0] + normals[a, 1] * frame[2, 1]
            if facing + normals[a, 2] * frame[2, 2] < np.float32(-0.2):
                continue  # what looks away from the lamp lies behind what looks to it
            left, right = int(ceil(min(x0, x1, x2))), int(floor(max(x0, x1, x2)))
            top, bottom = int(ceil(min(y0, y1, y2))), int(floor(max(y0, y1, y2)))
            if left > right or top > bottom:
                continue
            if left < 0 or top < 0 or right >= size or bottom >= size:
                continue
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if abs(area) < 1e-6:
                continue
            inverse = np.float32(1.0) / area
            for y in range(top, bottom + 1):
                for x in range(left, right + 1):
                    w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) * inverse
                    w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) * inverse
                    if w1 < 0 or w2 < 0 or w1 + w2 > 1:
                        continue
                    d = cells[a, 2] + w1 * (cells[b, 2] - cells[a, 2])
                    d += w2 * (cells[c, 2] - cells[a, 2])
                    if d > grid[y, x]:
                        grid[y, x] = d


@njit(fastmath=True, cache=True)
def _lit(u, v, d, grid):
    """Return how much of the lamp is seen from a place, 0..1, softened over 3 x 3 cells."""
    size = grid.shape[0]
    u, v = u - np.float32(0.5), v - np.float32(0.5)
    x, y = int(floor(u)), int(floor(v))
    if x < 0 or y < 0 or x > size - 3 or y > size - 3:
        return np.float32(1.0)
    fx, fy = u - x, v - y
    d += np.float32(SHADOW_BIAS_MM)
    total = np.float32(0.0)
    for j in range(3):
        wy = (1 - fy) if j == 0 else (fy if j == 2 else np.float32(1.0))
        for k in range(3):
            over = (grid[y + j, x + k] - d) * np.float32(1.0 / SHADOW_SOFT_MM)
            if over > 0:
                wx = (1 - fx) if k == 0 else (fx if k == 2 else np.float32(1.0))
                total += wx * wy * min(np.float32(1.0), over)
    return np.float32(1.0) - total * np.float32(0.25)


@njit(fastmath=True, cache=True)
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


@njit(fastmath=True, cache=True)
def darken_mouth(shape, first, teeth, lips, open_teeth, screen):
    for k in range(teeth.shape[0]):
        i = first + k
        depth = (shape[i, 2] - lips + np.float32(MOUTH_DEPTH_MM[0])) / np.float32(
            MOUTH_DEPTH_MM[1]
        )
        dark = min(np.float32(1.0), np.float32(exp(depth)))
        screen[i, 3] *= dark * (open_teeth if teeth[k] else np.float32(1.0))


@njit(fastmath=True, cache=True)
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
