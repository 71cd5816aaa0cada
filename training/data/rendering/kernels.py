"""
The renderer's loops over vertices, compiled: normals, hollows, shapes, projection.

`blocks` are rows of (first vertex, end, first triangle, end): what is drawn of the model.
A row of `screen` is x, y, 1 / depth, light, sheen, u, v, alpha.
"""

from math import sqrt

import numpy as np
from numba import njit

RING_SIZE = 8
OCCLUSION = (1.7, 2.0)  # darkening per unit of hollow at each radius


@njit(fastmath=True, error_model='numpy', cache=True)
def vertex_normals(vertices, triangles, blocks, normals):
    """Write unit normals, the area-weighted mean of the triangles around each vertex."""
    for p in range(blocks.shape[0]):
        normals[blocks[p, 0] : blocks[p, 1]] = 0.0
    for p in range(blocks.shape[0]):  # the rims of a block's triangles may lie in another one
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
    for p in range(blocks.shape[0]):
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


@njit(fastmath=True, error_model='numpy', cache=True)
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


@njit(fastmath=True, error_model='numpy', cache=True)
def occlude(hollow, rest, occlusion):
    # The skins carry the shade of the resting face: a third of it is drawn, changes in full.
    for i in range(hollow.shape[0]):
        dark = np.float32(1.0)
        for r in range(2):
            dark -= np.float32(OCCLUSION[r]) * (hollow[i, r] - np.float32(0.67) * rest[i, r])
        occlusion[i] = min(np.float32(1.15), max(np.float32(0.25), dark))


@njit(fastmath=True, error_model='numpy', cache=True)
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


@njit(fastmath=True, error_model='numpy', cache=True)
def turn(vertices, index, centre, rotation):
    for i in index:
        x = vertices[i, 0] - centre[0]
        y = vertices[i, 1] - centre[1]
        z = vertices[i, 2] - centre[2]
        for k in range(3):
            vertices[i, k] = (
                centre[k] + rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
            )


@njit(fastmath=True, error_model='numpy', cache=True)
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
