"""
The renderer's loops over pixels, compiled: triangles and their edges.

Pixels are drawn once through their middles; those at an edge once more through four samples.
"""

import numpy as np
from numba import njit

from training.data.rendering.sheets import TWO_SIDED

WORD_BITS = 5  # a word of edges begins every 32 px
WORD_MASK = (1 << WORD_BITS) - 1
SAMPLES = 4  # of a pixel at an edge
# A rotated grid: a slow edge along rows or columns passes its samples one by one.
SAMPLE_X = (0.375, 0.875, 0.125, 0.625)
SAMPLE_Y = (0.125, 0.375, 0.625, 0.875)


@njit(fastmath=True, error_model='numpy', cache=True, inline='always')
def _texel(atlas, u, v):
    u = min(np.float32(atlas.shape[1] - 1.01), max(np.float32(0.0), u))
    v = min(np.float32(atlas.shape[0] - 1.01), max(np.float32(0.0), v))
    iu, iv = np.int32(u), np.int32(v)
    fu, fv = u - np.float32(iu), v - np.float32(iv)
    upper = atlas[iv, iu] + fu * (atlas[iv, iu + 1] - atlas[iv, iu])
    lower = atlas[iv + 1, iu] + fu * (atlas[iv + 1, iu + 1] - atlas[iv + 1, iu])
    return upper + fv * (lower - upper)


@njit(fastmath=True, error_model='numpy', cache=True, inline='always')
def value_at(screen, atlas, a, b, c, w1, w2):
    w0 = np.float32(1.0) - w1 - w2
    u = w0 * screen[a, 5] + w1 * screen[b, 5] + w2 * screen[c, 5]
    v = w0 * screen[a, 6] + w1 * screen[b, 6] + w2 * screen[c, 6]
    light = w0 * screen[a, 3] + w1 * screen[b, 3] + w2 * screen[c, 3]
    sheen = w0 * screen[a, 4] + w1 * screen[b, 4] + w2 * screen[c, 4]
    return _texel(atlas, u, v) * light + sheen


@njit(fastmath=True, error_model='numpy', cache=True, inline='always')
def above(value):
    """Return the least whole number not below a value of at least 0, or one not above 0."""
    whole = np.int32(value)
    return whole + (value > np.float32(whole))


@njit(fastmath=True, error_model='numpy', cache=True)
def raster(screen, triangles, flags, material, blocks, atlas, depth, value, code, live):
    """
    Draw the blocks' triangles; return how many face the viewer.

    `live` gets their numbers and the pixels they touch: left, right, top, bottom.
    """
    height, width = depth.shape
    count = 0
    half, one = np.float32(0.5), np.float32(1.0)
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
            # the pixel middles inside, without the slow floor and ceil of math
            left, right = max(0, above(x3 - half)), min(width - 1, np.int32(x4 - half))
            top, bottom = max(0, above(y3 - half)), min(height - 1, np.int32(y4 - half))
            if left > right or top > bottom:
                continue
            inverse = one / area
            ax1, ay1 = (y2 - y0) * inverse, -(x2 - x0) * inverse
            ax2, ay2 = -(y1 - y0) * inverse, (x1 - x0) * inverse
            near0, near1 = screen[a, 2], screen[b, 2] - screen[a, 2]
            near2 = screen[c, 2] - screen[a, 2]
            px = np.float32(left) + half - x0
            for y in range(top, bottom + 1):
                py = np.float32(y) + half - y0
                w1, w2 = px * ax1 + py * ay1, px * ax2 + py * ay2
                for x in range(left, right + 1):
                    near = near0 + w1 * near1 + w2 * near2
                    # one branch, not four: what lies inside is hard to foresee
                    if (min(w1, w2, one - w1 - w2) >= 0) & (near > depth[y, x]):
                        depth[y, x] = near
                        code[y, x] = material[t]
                        value[y, x] = value_at(screen, atlas, a, b, c, w1, w2)
                    w1 += ax1
                    w2 += ax2
    return count


@njit(fastmath=True, error_model='numpy', cache=True)
def mark_edges(depth, code, jump, slot, words):
    """
    Number the pixels beside which material or depth changes; return how many there are.

    `words` has a bit for each pixel of a row: the words of 64 begin every 32, so that any 32
    pixels in a row stand in one of them.
    """
    height, width = depth.shape
    most = height * width // 3
    slot[:], words[:] = -1, 0
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
            if slot[y, x] == 0 and count < most:
                words[y, x >> WORD_BITS] |= np.uint64(1) << np.uint64(x & WORD_MASK)
                slot[y, x] = count
                count += 1
            else:
                slot[y, x] = -1
        for k in range(words.shape[1] - 1):
            words[y, k] |= words[y, k + 1] << np.uint64(1 << WORD_BITS)
    return count


@njit(fastmath=True, error_model='numpy', cache=True)
def raster_edges(screen, triangles, live, slot, words, depths, owners):
    """
    Find the nearest of the live triangles at the samples of the numbered pixels.

    The last of a pixel's `depths` is the farthest of its samples: what lies behind is hidden.
    """
    zero, one = np.float32(0.0), np.float32(1.0)
    every1, every2 = np.empty(SAMPLES, np.float32), np.empty(SAMPLES, np.float32)
    for n in range(live.shape[0]):
        left, right, top, bottom = live[n, 1], live[n, 2], live[n, 3], live[n, 4]
        first, shift = left >> WORD_BITS, np.uint64(left & WORD_MASK)
        is_wide = right - left > WORD_MASK
        mask = (np.uint64(2) << np.uint64(min(right - left, WORD_MASK))) - np.uint64(1)
        ready = False
        for y in range(top, bottom + 1):
            if not is_wide and not (words[y, first] >> shift) & mask:
                continue
            for x in range(left, right + 1):
                s = slot[y, x]
                if s < 0:
                    continue
                if not ready:
                    ready = True
                    t = live[n, 0]
                    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                    near0, near1, near2 = screen[a, 2], screen[b, 2], screen[c, 2]
                    nearest = max(near0, near1, near2)
                    near1, near2 = near1 - near0, near2 - near0
                    x0, y0 = screen[a, 0], screen[a, 1]
                    x1, y1 = screen[b, 0] - x0, screen[b, 1] - y0
                    x2, y2 = screen[c, 0] - x0, screen[c, 1] - y0
                    inverse = one / (x1 * y2 - x2 * y1)
                    ax1, ay1, ax2, ay2 = y2 * inverse, -x2 * inverse, -y1 * inverse, x1 * inverse
                    for k in range(SAMPLES):
                        sx, sy = np.float32(SAMPLE_X[k]) - x0, np.float32(SAMPLE_Y[k]) - y0
                        every1[k], every2[k] = sx * ax1 + sy * ay1, sx * ax2 + sy * ay2
                if nearest < depths[s, SAMPLES]:
                    continue
                px, py = np.float32(x), np.float32(y)
                corner1, corner2 = px * ax1 + py * ay1, px * ax2 + py * ay2
                touched = False
                for k in range(SAMPLES):
                    w1, w2 = corner1 + every1[k], corner2 + every2[k]
                    touched |= min(w1, w2, one - w1 - w2) >= zero
                if not touched:
                    continue
                for k in range(SAMPLES):
                    w1, w2 = corner1 + every1[k], corner2 + every2[k]
                    near = near0 + w1 * near1 + w2 * near2
                    if (min(w1, w2, one - w1 - w2) >= zero) & (near > depths[s, k]):
                        depths[s, k] = near
                        owners[s, k] = t
                depths[s, SAMPLES] = min(depths[s, 0], depths[s, 1], depths[s, 2], depths[s, 3])


@njit(fastmath=True, error_model='numpy', cache=True)
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
    return value_at(screen, atlas, a, b, c, w1, w2)


@njit(fastmath=True, error_model='numpy', cache=True)
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
            total, last = np.float32(0.0), np.float32(0.0)
            for k in range(SAMPLES):
                if depths[s, k] > 0:
                    if k > 0 and owners[s, k] == owners[s, k - 1] and depths[s, k - 1] > 0:
                        total += last  # within a pixel one triangle is of one light
                        continue
                    last = _sample(
                        screen, triangles, atlas, owners[s, k],
                        np.float32(x) + np.float32(SAMPLE_X[k]),
                        np.float32(y) + np.float32(SAMPLE_Y[k]),
                    )  # fmt: skip
                    total += last
                else:
                    total += back
            picture[y, x] = total * np.float32(1.0 / SAMPLES)
