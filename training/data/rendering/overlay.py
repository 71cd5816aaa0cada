"""What is laid over the picture, compiled: sheer triangles, lines; then its exposure."""

from math import sqrt

import numpy as np
from numba import njit

from training.data.rendering.raster import above, value_at

CURVE_STEPS = 2047  # of the display's curve: measured within 5e-4 DN of it, 3e-5 above 20 DN


@njit(fastmath=True, error_model='numpy', cache=True)
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
        left = max(0, above(min(x0, x1, x2) - half))
        right = min(width - 1, np.int32(max(x0, x1, x2) - half))
        top = max(0, above(min(y0, y1, y2) - half))
        bottom = min(height - 1, np.int32(max(y0, y1, y2) - half))
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
                own = value_at(screen, atlas, a, b, c, w1, w2)
                picture[y, x] += alpha * (own - picture[y, x])
                if alpha > 0.5:
                    depth[y, x] = near


@njit(fastmath=True, error_model='numpy', cache=True)
def draw_strokes(points, radius, start, light, bias, picture, depth):
    """
    Draw lines with soft rims, one after the other: spectacles, locks of hair.

    points (n, 3): x, y, 1 / depth; radius (n,) px; line k has the points from start[k] to
    start[k + 1]. Where something is nearer by a share of `bias`, a line is hidden.
    """
    height, width = picture.shape
    half = np.float32(0.5)
    for line in range(light.shape[0]):
        for k in range(start[line], start[line + 1] - 1):
            x0, y0, n0 = points[k, 0], points[k, 1], points[k, 2]
            dx, dy, dn = points[k + 1, 0] - x0, points[k + 1, 1] - y0, points[k + 1, 2] - n0
            r0, dr = radius[k], radius[k + 1] - radius[k]
            length = dx * dx + dy * dy + np.float32(1e-9)
            reach = max(r0, radius[k + 1]) + half
            left = max(0, np.int32(min(x0, x0 + dx) - reach))
            right = min(width - 1, np.int32(max(x0, x0 + dx) + reach))
            top = max(0, np.int32(min(y0, y0 + dy) - reach))
            bottom = min(height - 1, np.int32(max(y0, y0 + dy) + reach))
            for y in range(top, bottom + 1):
                for x in range(left, right + 1):
                    px, py = np.float32(x) + half - x0, np.float32(y) + half - y0
                    f = min(np.float32(1.0), max(np.float32(0.0), (px * dx + py * dy) / length))
                    ex, ey = px - f * dx, py - f * dy
                    far = ex * ex + ey * ey
                    if far > reach * reach:
                        continue
                    r = r0 + f * dr
                    # How much of a pixel's width lies between the line's two sides.
                    cover = r + half - np.float32(sqrt(far))
                    cover = min(np.float32(1.0), np.float32(2.0) * r, cover)
                    near = (n0 + f * dn) * (np.float32(1.0) + bias)
                    if cover <= 0 or near < depth[y, x]:
                        continue
                    picture[y, x] += cover * (light[line] - picture[y, x])
                    if cover > 0.5:
                        depth[y, x] = near


def display_curve(gamma: float) -> np.ndarray:
    """Return DN, 0..255, of light 0..1 for `expose`: a table over the light's square root."""
    return (255.0 * np.linspace(0.0, 1.0, CURVE_STEPS + 2) ** (2 / gamma)).astype(np.float32)


@njit(fastmath=True, error_model='numpy', cache=True)
def expose(picture, gain, curve):
    """Turn light into DN in place: gain, clipped at white, then the display's curve."""
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            share = min(np.float32(1.0), max(np.float32(0.0), picture[y, x] * gain))
            root = sqrt(share) * np.float32(CURVE_STEPS + 1)
            k = min(np.int32(root), np.int32(CURVE_STEPS))
            picture[y, x] = curve[k] + (root - np.float32(k)) * (curve[k + 1] - curve[k])
