"""
Frames between the frames of ordinary video, by optical flow.

A pixel model takes the light of a pixel as a line between two frames. Of an edge that moves ten
pixels in between, every pixel on its way would then fire all the time until the next frame,
instead of once, when the edge is there. Frames in which the edge has moved a pixel put that right.
"""

from typing import Iterator, Tuple

import cv2
import numpy as np

AUTO = 0  # as many frames as the motion needs
OFF = 1
SLOW_NS = 10_000_000  # apart; closer frames (100 fps and more) are left alone by AUTO
STEP_PX = 1.0  # motion from frame to frame; half of it gains 2 % for twice the cost
MOST = 16  # frames made of one: bounds the cost of wild motion
BLOCK_PX = 8  # the fastest block tells how many: an eyelid counts, a stray pixel does not
SMALLEST_PX = 32  # side of a frame in which flow means anything
# Flow there and back leaves at most this of itself, and this many pixels besides, where trusted.
LEFT_SHARE, LEFT_PX = 0.25, 1.0
CUT = 0.6  # share of trusted pixels; cuts of the clips tried leave .36 at most, motion .91
BLACK_DN = 5.0  # keeps the logarithm of black finite
# A linear one blurs what lies between pixels, and edges that are sharp at each frame and soft in
# between fire by that alone, in the rhythm of the frames.
WARP = cv2.INTER_CUBIC


class Upsampler:
    """
    Frames in, the same and those between out; one frame later than they come.

    Both neighbours are moved along the flow to the time of the frame between and blended, in
    log intensity. Where the flow from one frame to the other and the flow back contradict each
    other it is not trusted and taken as none, which leaves a cross-fade: what a pixel model does
    anyhow. Where they do so over most of the picture it is a cut, and no frames are made.

    Parameters
    ----------
    factor : int
        Frames made of each: AUTO as many as the motion needs, up to 16, where frames are more than
        10 ms apart; OFF, which is 1, none; else as many as that.

    Raises
    ------
    ValueError
        If the factor is negative.
    """

    def __init__(self, factor: int = AUTO):
        if factor < 0:
            raise ValueError('frames made of one must be 0 (auto) or more, got {}'.format(factor))
        self._factor = factor
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.reset()

    def reset(self):
        """Forget the last frame."""
        self._last = None
        self._grid = None

    def push(self, frame: np.ndarray, t_ns: int) -> Iterator[Tuple[np.ndarray, int]]:
        """
        Return (frame, time) of those between the last frame and this one, and of this one.

        Parameters
        ----------
        frame : np.ndarray [shape=(height, width), dtype=uint8 or float]
            DN, 0 to 255, of one size.
        t_ns : int

        Returns
        -------
        iterator
            Makes the frames as it goes: float32 between, as they came else.
        """
        last, self._last = self._last, (frame, t_ns)
        if last is None or not self._may_help(last, self._last):
            return iter([self._last])
        return self._between(last, self._last)

    def _may_help(self, first, second):
        return (
            self._factor != OFF
            and (self._factor != AUTO or second[1] - first[1] > SLOW_NS)
            and min(second[0].shape) >= SMALLEST_PX
            and all(np.isfinite(frame).all() for frame, _ in (first, second))
        )

    def _between(self, first, second):
        frames = [frame for frame, _ in (first, second)]
        flows = self._trusted_flows(*(_bytes(frame) for frame in frames))
        count = self._factor if self._factor != AUTO else _frames_needed(flows)
        logs = [_log(frame) for frame in frames] if count > 1 else []
        span_ns = second[1] - first[1]
        for index in range(1, count):
            share = index / count
            moved = [
                self._move(log, flow, part)
                for log, flow, part in zip(logs, flows, (share, 1 - share))
            ]
            blend = cv2.addWeighted(moved[0], 1 - share, moved[1], share, 0.0)
            yield _light(blend), first[1] + span_ns * index // count
        yield second

    def _trusted_flows(self, before, after):
        """Return the flow from each frame to the other (height, width, 2), 0 without trust."""
        flows = [
            self._flow.calc(before, after, None),
            self._flow.calc(after, before, None),
        ]
        trusts = [self._trust(*flows), self._trust(*flows[::-1])]
        if min(float(trust.mean()) for trust in trusts) < CUT:
            return [np.zeros_like(flow) for flow in flows]
        return [flow * trust[:, :, None] for flow, trust in zip(flows, trusts)]

    def _trust(self, there, back):
        """Return 1 where the flow there and the flow back from there agree, else 0."""
        x, y = self._pixels(there.shape[:2])
        back = cv2.remap(
            back,
            x + there[:, :, 0],
            y + there[:, :, 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        left = there + back
        allowed = LEFT_SHARE**2 * (_squared(there) + _squared(back)) / 2 + LEFT_PX**2
        return (_squared(left) <= allowed).astype(np.float32)

    def _move(self, picture, flow, share):
        """Return a picture moved by a share of the flow that begins at it."""
        x, y = self._pixels(picture.shape)
        share = np.float32(share)
        return cv2.remap(
            picture,
            x - share * flow[:, :, 0],
            y - share * flow[:, :, 1],
            WARP,
            borderMode=cv2.BORDER_REPLICATE,
        )

    def _pixels(self, shape):
        if self._grid is None or self._grid[0].shape != shape:
            height, width = shape
            self._grid = np.meshgrid(
                np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
            )
        return self._grid


def _squared(flow):
    return flow[:, :, 0] ** 2 + flow[:, :, 1] ** 2


def _frames_needed(flows):
    """Return into how many steps the fastest block's way is to be cut."""
    height, width = flows[0].shape[:2]
    blocks = max(1, width // BLOCK_PX), max(1, height // BLOCK_PX)
    fastest = max(
        float(cv2.resize(np.sqrt(_squared(flow)), blocks, interpolation=cv2.INTER_AREA).max())
        for flow in flows
    )
    return int(min(MOST, max(1, np.ceil(fastest / STEP_PX))))


def _bytes(frame):
    return frame if frame.dtype == np.uint8 else np.clip(frame, 0, 255).astype(np.uint8)


def _log(frame):
    return cv2.log(frame.astype(np.float32) + np.float32(BLACK_DN))


def _light(log):
    return np.maximum(cv2.exp(log) - np.float32(BLACK_DN), np.float32(0))
