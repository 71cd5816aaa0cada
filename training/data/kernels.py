"""The renderer's inner loops, compiled: deform, shade, shadow, raster. Arrays in, arrays out."""

from math import ceil, exp, floor, sqrt

import numpy as np
from numba import njit

from training.data.faces import CASTER, MOUTH, TWO_SIDED

SAMPLES = 2  # per axis: without, silhouettes stair-step and fire in bursts
SHADOW_GRID = 144  # cells of the light's depth map over the head
SHADOW_CELL_MM = 1.9
SHADOW_BIAS_MM = 3.0  # a surface does not shade itself
SHADOW_SOFT_MM = 9.0  # depth over which a shadow becomes full
RING_SIZE = 8
OCCLUSION = (1.1, 1.3)  # darkening per unit of hollow at each radius
MOUTH_DEPTH_MM = (4.0, 14.0)  # the inside darkens by exp((z - z_lips + first) / second)


def rings(points: np.ndarray, radius: float) -> np.ndarray:
    """Return for each vertex RING_SIZE vertices about a radius away; itself where none is."""
    index = np.empty((len(points), RING_SIZE), np.int32)
    find_rings(points, np.float32(radius), index)
    return index


@njit(cache=True)
def find_rings(points, radius, index):
    # Of all vertices between 0.6 and 1.4 radii the ones nearest to evenly spread directions.
    axes = np.empty((RING_SIZE, 3), np.float32)
    for k in range(RING_SIZE):
        a = 2.0 * np.pi * k / RING_SIZE
        axes[k, 0], axes[k, 1], axes[k, 2] = np.cos(a), np.sin(a), 0.0
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
def hollow(vertices, normals, near, far):
    """Return (n, 2): how far the surface around rises above each vertex, per mm of radius."""
    out = np.zeros((near.shape[0], 2), np.float32)
    for i in range(near.shape[0]):
        for r in range(2):
            ring = near if r == 0 else far
            total = np.float32(0.0)
            for k in range(ring.shape[1]):
                j = ring[i, k]
                dx = vertices[j, 0] - vertices[i, 0]
                dy = vertices[j, 1] - vertices[i, 1]
                dz = vertices[j, 2] - vertices[i, 2]
                height = dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]
                total += height / (sqrt(dx * dx + dy * dy + dz * dz) + np.float32(1e-3))
            out[i, r] = total / ring.shape[1]
    return out


@njit(fastmath=True, cache=True)
def occlude(hollow, rest, occlusion):
    # The skins carry the shade of the resting face: a third of it is drawn, changes in full.
    for i in range(hollow.shape[0]):
        dark = np.float32(1.0)
        for r in range(2):
            dark -= OCCLUSION[r] * (hollow[i, r] - np.float32(0.67) * rest[i, r])
        occlusion[i] = min(np.float32(1.15), max(np.float32(0.25), dark))


@njit(fastmath=True, cache=True)
def deform(base, weights, start, index, delta, out):
    out[:] = base
    for s in range(weights.shape[0]):
        w = weights[s]
        if abs(w) < 1e-4:
            continue
        for k in range(start[s], start[s + 1]):
            i = index[k]
            out[i, 0] += w * delta[k, 0]
            out[i, 1] += w * delta[k, 1]
            out[i, 2] += w * delta[k, 2]


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
def place(
    shape, normals, follow, rotation, head, body, pivot, focal, distance, cx, cy, camera, screen
):
    for i in range(shape.shape[0]):
        w = follow[i]
        x, y, z = shape[i, 0] - pivot[0], shape[i, 1] - pivot[1], shape[i, 2] - pivot[2]
        for k in range(3):
            turned = rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
            camera[i, k] = w * (turned + pivot[k] + head[k]) + (1 - w) * (shape[i, k] + body[k])
        inverse = np.float32(1.0) / (distance - camera[i, 2])
        screen[i, 0] = cx + focal * camera[i, 0] * inverse
        screen[i, 1] = cy - focal * camera[i, 1] * inverse
        screen[i, 2] = inverse


def light_frame(local: np.ndarray) -> np.ndarray:
    """Return two axes across the light and the light itself, rows of a (3, 3) float32."""
    across = np.cross(local, [0.0, 1.0, 0.0] if abs(local[1]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(local, across), local]).astype(np.float32)


@njit(fastmath=True, cache=True)
def _light_cell(vertices, i, frame):
    half = np.float32(SHADOW_GRID / 2)
    u = np.float32(0.0)
    v = np.float32(0.0)
    d = np.float32(0.0)
    for k in range(3):
        p = vertices[i, k] - (
            np.float32(10.0) if k == 1 else (np.float32(40.0) if k == 2 else np.float32(0.0))
        )
        u += frame[0, k] * p
        v += frame[1, k] * p
        d += frame[2, k] * p
    return u / np.float32(SHADOW_CELL_MM) + half, v / np.float32(SHADOW_CELL_MM) + half, d


@njit(fastmath=True, cache=True)
def light_depth(vertices, normals, triangles, flags, frame, grid):
    """Write how near to the lamp the first skin in each cell is."""
    size = grid.shape[0]
    cells = np.empty((vertices.shape[0], 3), np.float32)
    for i in range(vertices.shape[0]):
        cells[i, 0], cells[i, 1], cells[i, 2] = _light_cell(vertices, i, frame)
    for t in range(triangles.shape[0]):
        if not flags[t] & CASTER:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        facing = (
            normals[a, 0] * frame[2, 0] + normals[a, 1] * frame[2, 1] + normals[a, 2] * frame[2, 2]
        )
        if facing < 0:
            continue
        x0, y0, x1, y1 = cells[a, 0], cells[a, 1], cells[b, 0], cells[b, 1]
        x2, y2 = cells[c, 0], cells[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-6:
            continue
        left = max(0, int(ceil(min(x0, x1, x2))))
        right = min(size - 1, int(floor(max(x0, x1, x2))))
        top = max(0, int(ceil(min(y0, y1, y2))))
        bottom = min(size - 1, int(floor(max(y0, y1, y2))))
        inverse = np.float32(1.0) / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) * inverse
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) * inverse
                w0 = np.float32(1.0) - w1 - w2
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                d = w0 * cells[a, 2] + w1 * cells[b, 2] + w2 * cells[c, 2]
                if d > grid[y, x]:
                    grid[y, x] = d


@njit(fastmath=True, cache=True)
def _lit(vertices, i, frame, grid):
    """Return how much of the lamp a vertex sees, 0..1, softened over 4 x 4 cells."""
    u, v, d = _light_cell(vertices, i, frame)
    size = grid.shape[0]
    x, y = int(floor(u)), int(floor(v))
    if x < 1 or y < 1 or x > size - 3 or y > size - 3:
        return np.float32(1.0)
    fx, fy = u - x, v - y
    total = np.float32(0.0)
    for j in range(-1, 3):
        wy = (1 - fy) if j == -1 else (fy if j == 2 else np.float32(1.0))
        for k in range(-1, 3):
            wx = (1 - fx) if k == -1 else (fx if k == 2 else np.float32(1.0))
            over = (grid[y + j, x + k] - d - np.float32(SHADOW_BIAS_MM)) / np.float32(
                SHADOW_SOFT_MM
            )
            total += wx * wy * min(np.float32(1.0), max(np.float32(0.0), over))
    return np.float32(1.0) - total / np.float32(9.0)


@njit(fastmath=True, cache=True)
def shade(
    shape,
    normals,
    follow,
    rotation,
    toward,
    strength,
    ambient,
    shine,
    occlusion,
    frame,
    grid,
    skin_count,
    screen,
):
    # Half way between lamp and viewer, for the sheen.
    hx, hy, hz = toward[0], toward[1], toward[2] + np.float32(1.0)
    h = sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx / h, hy / h, hz / h
    for i in range(shape.shape[0]):
        w = follow[i]
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        tx = rotation[0, 0] * nx + rotation[0, 1] * ny + rotation[0, 2] * nz
        ty = rotation[1, 0] * nx + rotation[1, 1] * ny + rotation[1, 2] * nz
        tz = rotation[2, 0] * nx + rotation[2, 1] * ny + rotation[2, 2] * nz
        nx, ny, nz = w * tx + (1 - w) * nx, w * ty + (1 - w) * ny, w * tz + (1 - w) * nz
        if nz < 0 and i >= skin_count:  # sheets seen from behind
            nx, ny, nz = -nx, -ny, -nz
        facing = nx * toward[0] + ny * toward[1] + nz * toward[2]
        soft = max(np.float32(0.0), (facing + np.float32(0.2)) / np.float32(1.2))
        seen = np.float32(1.0)
        sheen = np.float32(0.0)
        hollow = np.float32(1.0)
        if i < skin_count:
            hollow = occlusion[i]
            if facing > -0.2:
                seen = _lit(shape, i, frame, grid)
            glance = nx * hx + ny * hy + nz * hz
            if glance > 0:
                sheen = shine * strength * seen * glance**14
        sky = np.float32(0.75) + np.float32(0.25) * ny
        screen[i, 3] = ambient * sky * hollow + strength * soft * seen * (
            np.float32(0.4) + np.float32(0.6) * hollow
        )
        screen[i, 4] = sheen * hollow


@njit(fastmath=True, cache=True)
def darken_mouth(shape, index, teeth, lips, open_teeth, screen):
    for k in range(index.shape[0]):
        i = index[k]
        dark = min(1.0, exp((shape[i, 2] - lips + MOUTH_DEPTH_MM[0]) / MOUTH_DEPTH_MM[1]))
        screen[i, 3] *= np.float32(dark) * (open_teeth if teeth[k] else np.float32(1.0))


@njit(fastmath=True, cache=True)
def darken_eye(shape, index, lid, screen):
    # The upper lid and its lashes shade the top 7 mm of the opening.
    for i in index:
        below = (lid - shape[i, 1]) / np.float32(7.0)
        below = min(np.float32(1.0), max(np.float32(0.0), below))
        screen[i, 3] *= np.float32(0.4) + np.float32(0.6) * below


@njit(fastmath=True, cache=True)
def raster(screen, uv, triangles, flags, inside, atlas, depth, value):
    height, width = depth.shape
    last_u, last_v = np.float32(atlas.shape[1] - 1.01), np.float32(atlas.shape[0] - 1.01)
    for t in range(triangles.shape[0]):
        if flags[t] & MOUTH and not inside:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area > -1e-6 and not (flags[t] & TWO_SIDED and area > 1e-6):
            continue  # y looks down: a front has negative area
        left = max(0, int(ceil(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(floor(max(x0, x1, x2) - 0.5)))
        top = max(0, int(ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(floor(max(y0, y1, y2) - 0.5)))
        if left > right or top > bottom:
            continue
        inverse = np.float32(1.0) / area
        # Every attribute is a plane over the screen: value at the corner, steps along x and y.
        ax1, ay1 = (y2 - y0) * inverse, -(x2 - x0) * inverse
        ax2, ay2 = -(y1 - y0) * inverse, (x1 - x0) * inverse
        near0, near1 = screen[a, 2], screen[b, 2] - screen[a, 2]
        near2 = screen[c, 2] - screen[a, 2]
        u0, u1, u2 = uv[a, 0], uv[b, 0] - uv[a, 0], uv[c, 0] - uv[a, 0]
        v0, v1, v2 = uv[a, 1], uv[b, 1] - uv[a, 1], uv[c, 1] - uv[a, 1]
        lit0, lit1, lit2 = screen[a, 3], screen[b, 3] - screen[a, 3], screen[c, 3] - screen[a, 3]
        sheen0, sheen1 = screen[a, 4], screen[b, 4] - screen[a, 4]
        sheen2 = screen[c, 4] - screen[a, 4]
        px = np.float32(left) + np.float32(0.5) - x0
        for y in range(top, bottom + 1):
            py = np.float32(y) + np.float32(0.5) - y0
            w1, w2 = px * ax1 + py * ay1, px * ax2 + py * ay2
            for x in range(left, right + 1):
                if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                    near = near0 + w1 * near1 + w2 * near2
                    if near > depth[y, x]:
                        depth[y, x] = near
                        u = min(last_u, max(np.float32(0.0), u0 + w1 * u1 + w2 * u2))
                        v = min(last_v, max(np.float32(0.0), v0 + w1 * v1 + w2 * v2))
                        iu, iv = np.int32(u), np.int32(v)
                        fu, fv = u - np.float32(iu), v - np.float32(iv)
                        upper = atlas[iv, iu] + fu * (atlas[iv, iu + 1] - atlas[iv, iu])
                        lower = atlas[iv + 1, iu] + fu * (
                            atlas[iv + 1, iu + 1] - atlas[iv + 1, iu]
                        )
                        value[y, x] = (
                            (upper + fv * (lower - upper)) * (lit0 + w1 * lit1 + w2 * lit2)
                            + sheen0
                            + w1 * sheen1
                            + w2 * sheen2
                        )
                w1 += ax1
                w2 += ax2


@njit(fastmath=True, cache=True)
def stroke(x, y, radius, light, value):
    height, width = value.shape
    for k in range(x.shape[0] - 1):
        steps = int(sqrt((x[k + 1] - x[k]) ** 2 + (y[k + 1] - y[k]) ** 2)) + 1
        for s in range(steps):
            f = s / steps
            cx, cy = x[k] + f * (x[k + 1] - x[k]), y[k] + f * (y[k + 1] - y[k])
            r = max(np.float32(0.6), radius[k])
            for py in range(max(0, int(ceil(cy - r - 0.5))), min(height, int(cy + r + 0.5))):
                for px in range(max(0, int(ceil(cx - r - 0.5))), min(width, int(cx + r + 0.5))):
                    if (px + 0.5 - cx) ** 2 + (py + 0.5 - cy) ** 2 <= r * r:
                        value[py, px] = light


@njit(fastmath=True, cache=True)
def resolve(value, background, shift_x, shift_y, picture):
    """Average the samples over a background that lies `shift` px off."""
    height, width = picture.shape
    left, top = int(floor(shift_x)), int(floor(shift_y))
    fx, fy = shift_x - left, shift_y - top
    share = np.float32(1.0 / (SAMPLES * SAMPLES))
    for y in range(height):
        for x in range(width):
            total, covered = np.float32(0.0), 0
            for j in range(SAMPLES):
                for i in range(SAMPLES):
                    sample = value[y * SAMPLES + j, x * SAMPLES + i]
                    if sample >= 0:
                        total += sample
                        covered += 1
            if covered < SAMPLES * SAMPLES:
                v, u = y + top, x + left
                behind = (background[v, u] * (1 - fx) + background[v, u + 1] * fx) * (1 - fy) + (
                    background[v + 1, u] * (1 - fx) + background[v + 1, u + 1] * fx
                ) * fy
                total += behind * (SAMPLES * SAMPLES - covered)
            picture[y, x] = total * share
