"""
The renderer's loops over pixels, compiled: triangles, edges, blending, strokes, exposure.

Pixels are drawn once through their middles; those at an edge once more through four samples.
"""

from math import ceil, floor, sqrt

import numpy as np
from numba import njit

from training.data.sheets import TWO_SIDED

SAMPLES = 4  # of a pixel at an edge
# A rotated grid: a slow edge along rows or columns passes its samples one by one.
SAMPLE_X = (0.375, 0.875, 0.125, 0.625)
SAMPLE_Y = (0.125, 0.375, 0.625, 0.875)
CURVE_STEPS = 2047  # of the display's curve: its lines are within 1e-4 DN of it above 1 DN


@njit(fastmath=True, cache=True, inline='always')
def _texel(atlas, u, v):
    u = min(np.float32(atlas.shape[1] - 1.01), max(np.float32(0.0), u))
    v = min(np.float32(atlas.shape[0] - 1.01), max(np.float32(0.0), v))
    iu, iv = np.int32(u), np.int32(v)
    fu, fv = u - np.float32(iu), v - np.float32(iv)
    upper = atlas[iv, iu] + fu * (atlas[iv, iu + 1] - atlas[iv, iu])
    lower = atlas[iv + 1, iu] + fu * (atlas[iv + 1, iu + 1] - atlas[iv + 1, iu])
    return upper + fv * (lower - upper)


@njit(fastmath=True, cache=True, inline='always')
def _value(screen, atlas, a, b, c, w1, w2):
    w0 = np.float32(1.0) - w1 - w2
    u = w0 * screen[a, 5] + w1 * screen[b, 5] + w2 * screen[c, 5]
    v = w0 * screen[a, 6] + w1 * screen[b, 6] + w2 * screen[c, 6]
    light = w0 * screen[a, 3] + w1 * screen[b, 3] + w2 * screen[c, 3]
    sheen = w0 * screen[a, 4] + w1 * screen[b, 4] + w2 * screen[c, 4]
    return _texel(atlas, u, v) * light + sheen


@njit(fastmath=True, cache=True)
def raster(screen, triangles, flags, material, blocks, atlas, depth, value, code, live):
    """
    Draw the blocks' triangles; return how many face the viewer.

    `live` gets their numbers and the pixels they touch: left, right, top, bottom.
    """
    height, width = depth.shape
    count = 0
    half = np.float32(0.5)
    for p in range(blocks.shape[0]):
        for t in range(blocks[p, 2], blocks[p, 3]):
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
            x2, y2 = screen[c, 0], screen[c, 1]
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if area > -1e-6 and not (flags[t] & TWO_SIDED and area > 1e-6):
                continue  # y looks down: a front has negative area
            x3, x4 = min(x0, x1, x2), max(x0, x1, x2)
            y3, y4 = min(y0, y1, y2), max(y0, y1, y2)
            if x4 < 0 or y4 < 0 or x3 >= width or y3 >= height:
                continue
            live[count, 0] = t
            live[count, 1], live[count, 2] = max(0, np.int32(x3)), min(width - 1, np.int32(x4))
            live[count, 3], live[count, 4] = max(0, np.int32(y3)), min(height - 1, np.int32(y4))
            count += 1
            left, right = max(0, int(ceil(x3 - half))), min(width - 1, int(floor(x4 - half)))
            top, bottom = max(0, int(ceil(y3 - half))), min(height - 1, int(floor(y4 - half)))
            if left > right or top > bottom:
                continue
            inverse = np.float32(1.0) / area
            ax1, ay1 = (y2 - y0) * inverse, -(x2 - x0) * inverse
            ax2, ay2 = -(y1 - y0) * inverse, (x1 - x0) * inverse
            near0, near1 = screen[a, 2], screen[b, 2] - screen[a, 2]
            near2 = screen[c, 2] - screen[a, 2]
            px = np.float32(left) + half - x0
            for y in range(top, bottom + 1):
                py = np.float32(y) + half - y0
                w1, w2 = px * ax1 + py * ay1, px * ax2 + py * ay2
                for x in range(left, right + 1):
                    if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                        near = near0 + w1 * near1 + w2 * near2
                        if near > depth[y, x]:
                            depth[y, x] = near
                            code[y, x] = material[t]
                            value[y, x] = _value(screen, atlas, a, b, c, w1, w2)
                    w1 += ax1
                    w2 += ax2
    return count


@njit(fastmath=True, cache=True)
def mark_edges(depth, code, jump, slot, edges):
    """Number the pixels beside which material or depth changes; return how many there are."""
    height, width = depth.shape
    slot[:] = -1
    near = np.float32(1.0) - jump
    for y in range(height - 1):
        for x in range(width - 1):
            d, c = depth[y, x], code[y, x]
            e, f = depth[y, x + 1], depth[y + 1, x]
            right = c != code[y, x + 1] or min(d, e) < near * max(d, e)
            down = c != code[y + 1, x] or min(d, f) < near * max(d, f)
            if right or down:
                slot[y, x] = 0
                if right:
                    slot[y, x + 1] = 0
                if down:
                    slot[y + 1, x] = 0
    count = 0
    for y in range(height):
        for x in range(width):
            if slot[y, x] == 0 and count < edges.shape[0]:
                edges[count] = y * width + x
                slot[y, x] = count
                count += 1
            else:
                slot[y, x] = -1
    return count


@njit(fastmath=True, cache=True)
def raster_edges(screen, triangles, live, slot, depths, owners):
    """
    Find the nearest of the live triangles at the samples of the numbered pixels.

    The last of a pixel's `depths` is the farthest of its samples: what lies behind is hidden.
    """
    for n in range(live.shape[0]):
        for y in range(live[n, 3], live[n, 4] + 1):
            for x in range(live[n, 1], live[n, 2] + 1):
                s = slot[y, x]
                if s < 0:
                    continue
                t = live[n, 0]
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                near0, near1, near2 = screen[a, 2], screen[b, 2], screen[c, 2]
                if max(near0, near1, near2) < depths[s, SAMPLES]:
                    continue
                x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
                x2, y2 = screen[c, 0], screen[c, 1]
                inverse = np.float32(1.0) / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
                ax1, ay1 = (y2 - y0) * inverse, -(x2 - x0) * inverse
                ax2, ay2 = -(y1 - y0) * inverse, (x1 - x0) * inverse
                px, py = np.float32(x) - x0, np.float32(y) - y0
                corner1, corner2 = px * ax1 + py * ay1, px * ax2 + py * ay2
                for k in range(SAMPLES):
                    sx, sy = np.float32(SAMPLE_X[k]), np.float32(SAMPLE_Y[k])
                    w1, w2 = corner1 + sx * ax1 + sy * ay1, corner2 + sx * ax2 + sy * ay2
                    if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                        near = near0 + w1 * (near1 - near0) + w2 * (near2 - near0)
                        if near > depths[s, k]:
                            depths[s, k] = near
                            owners[s, k] = t
                            done = min(depths[s, 0], depths[s, 1], depths[s, 2], depths[s, 3])
                            depths[s, SAMPLES] = done


@njit(fastmath=True, cache=True)
def _sample(screen, triangles, atlas, t, x, y):
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    x1, y1 = screen[b, 0] - screen[a, 0], screen[b, 1] - screen[a, 1]
    x2, y2 = screen[c, 0] - screen[a, 0], screen[c, 1] - screen[a, 1]
    area = x1 * y2 - x2 * y1
    inverse = np.float32(1.0) / area if abs(area) > 1e-9 else np.float32(0.0)
    px, py = x - screen[a, 0], y - screen[a, 1]
    # Slivers are at the end of what float32 tells: never outside of the triangle.
    zero, one = np.float32(0.0), np.float32(1.0)
    w1 = min(one, max(zero, (px * y2 - x2 * py) * inverse))
    w2 = min(one - w1, max(zero, (x1 * py - px * y1) * inverse))
    return _value(screen, atlas, a, b, c, w1, w2)


@njit(fastmath=True, cache=True)
def resolve(screen, triangles, atlas, value, depth, slot, depths, owners, behind, level, picture):
    """Write the picture: faces before the background, edges as the mean of their samples."""
    height, width = picture.shape
    for y in range(height):
        for x in range(width):
            back = behind[y, x] * level
            s = slot[y, x]
            if s < 0:
                picture[y, x] = value[y, x] if depth[y, x] > 0 else back
                continue
            total = np.float32(0.0)
            for k in range(SAMPLES):
                if depths[s, k] > 0:
                    total += _sample(
                        screen, triangles, atlas, owners[s, k],
                        np.float32(x) + np.float32(SAMPLE_X[k]),
                        np.float32(y) + np.float32(SAMPLE_Y[k]),
                    )  # fmt: skip
                else:
                    total += back
            picture[y, x] = total * np.float32(1.0 / SAMPLES)


@njit(fastmath=True, cache=True)
def blend(screen, triangles, block, atlas, opacity, picture, depth):
    """Lay translucent triangles over the picture: lashes, lenses."""
    height, width = depth.shape
    half = np.float32(0.5)
    for t in range(block[2], block[3]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-6:
            continue
        inverse = np.float32(1.0) / area
        left = max(0, int(ceil(min(x0, x1, x2) - half)))
        right = min(width - 1, int(floor(max(x0, x1, x2) - half)))
        top = max(0, int(ceil(min(y0, y1, y2) - half)))
        bottom = min(height - 1, int(floor(max(y0, y1, y2) - half)))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = np.float32(x) + half - x0, np.float32(y) + half - y0
                w1 = (px * (y2 - y0) - (x2 - x0) * py) * inverse
                w2 = ((x1 - x0) * py - px * (y1 - y0)) * inverse
                if w1 < 0 or w2 < 0 or w1 + w2 > 1:
                    continue
                w0 = np.float32(1.0) - w1 - w2
                near = w0 * screen[a, 2] + w1 * screen[b, 2] + w2 * screen[c, 2]
                if near < depth[y, x]:
                    continue
                alpha = w0 * screen[a, 7] + w1 * screen[b, 7] + w2 * screen[c, 7]
                alpha *= opacity
                own = _value(screen, atlas, a, b, c, w1, w2)
                picture[y, x] += alpha * (own - picture[y, x])
                if alpha > 0.5:
                    depth[y, x] = near


@njit(fastmath=True, cache=True)
def stroke(points, radius, light, bias, picture, depth):
    """
    Draw a line with soft rims: spectacles, locks of hair.

    points (n, 3): x, y, 1 / depth; radius (n,) px. Where something is nearer by a share of
    `bias`, the line is hidden.
    """
    height, width = picture.shape
    half = np.float32(0.5)
    for k in range(points.shape[0] - 1):
        x0, y0, n0 = points[k, 0], points[k, 1], points[k, 2]
        dx, dy, dn = points[k + 1, 0] - x0, points[k + 1, 1] - y0, points[k + 1, 2] - n0
        r0, dr = radius[k], radius[k + 1] - radius[k]
        length = dx * dx + dy * dy + np.float32(1e-9)
        reach = max(r0, radius[k + 1]) + half
        left = max(0, int(floor(min(x0, x0 + dx) - reach)))
        right = min(width - 1, int(max(x0, x0 + dx) + reach))
        top = max(0, int(floor(min(y0, y0 + dy) - reach)))
        bottom = min(height - 1, int(max(y0, y0 + dy) + reach))
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = np.float32(x) + half - x0, np.float32(y) + half - y0
                f = min(np.float32(1.0), max(np.float32(0.0), (px * dx + py * dy) / length))
                ex, ey = px - f * dx, py - f * dy
                far = ex * ex + ey * ey
                if far > reach * reach:
                    continue
                r = r0 + f * dr
                # Half a pixel of rim; lines thinner than a pixel cover a part of it.
                cover = min(np.float32(1.0), r + half - np.float32(sqrt(far))) * min(
                    np.float32(1.0), np.float32(2.0) * r
                )
                near = (n0 + f * dn) * (np.float32(1.0) + bias)
                if cover <= 0 or near < depth[y, x]:
                    continue
                picture[y, x] += cover * (light - picture[y, x])
                if cover > 0.5:
                    depth[y, x] = near


def display_curve(gamma: float) -> np.ndarray:
    """Return DN, 0..255, of light 0..1 for `expose`: a table over the light's square root."""
    return (255.0 * np.linspace(0.0, 1.0, CURVE_STEPS + 2) ** (2 / gamma)).astype(np.float32)


@njit(fastmath=True, cache=True)
def expose(picture, gain, curve):
    """Turn light into DN in place: gain, clipped at white, then the display's curve."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            share = min(np.float32(1.0), max(np.float32(0.0), picture[y, x] * gain))
            root = sqrt(share) * np.float32(CURVE_STEPS + 1)
            k = min(np.int32(root), np.int32(CURVE_STEPS))
            picture[y, x] = curve[k] + (root - np.float32(k)) * (curve[k + 1] - curve[k])
