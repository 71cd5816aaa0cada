"""
From event frames to estimates: what a network needs to see, and when it need not be run.

An estimator has ``push(image) -> probabilities or None``, ``reset()``, and counts ``inferences``,
the runs of the network, and ``skipped``, the estimates that needed none.
"""

from typing import Optional

import numpy as np

from cs3d_ros.events import still_frame
from cs3d_ros.inference.engine import EngineError

BLANK_LEVEL = 128  # (frame - 128) / 128 is what networks read
AT_REST = (
    1e-6  # change from frame to frame, absolute and relative, of a memory that has come to rest
)


def scaled(frames: np.ndarray) -> np.ndarray:
    """Return uint8 event frames as networks read them, float32."""
    return (frames.astype(np.float32) - BLANK_LEVEL) / BLANK_LEVEL


class ClipEstimator:
    """
    The newest frames through a network without memory, every ``hop_frames``.

    The network is not run on a clip without events if it answers transitions: the answer is
    known.

    Parameters
    ----------
    engine : object
        What :func:`cs3d_ros.inference.open_engine` returns, of a bundle of kind ``clip``.
    """

    def __init__(self, engine):
        bundle = engine.bundle
        self._engine, self._bundle = engine, bundle
        self._still = still_frame(bundle.size)
        self._nothing = np.zeros(bundle.output_count, np.float32)
        self._nothing[-1] = 1.0
        self.inferences = self.skipped = 0
        self.reset()

    def reset(self) -> None:
        """Begin a new clip, of still frames."""
        self._images = [self._still] * self._bundle.clip_frames
        self._moving = [False] * self._bundle.clip_frames
        self._since_start = 0

    def push(self, image: np.ndarray) -> Optional[np.ndarray]:
        """Return the estimate for the clip that ends with a uint8 frame, if one is due."""
        self._images = self._images[1:] + [image]
        self._moving = self._moving[1:] + [bool((image != BLANK_LEVEL).any())]
        self._since_start += 1
        if self._since_start % self._bundle.hop_frames:
            return None
        if self._bundle.unchanged and not any(self._moving):
            self.skipped += 1
            return self._nothing
        self.inferences += 1
        return self._engine.run(scaled(np.stack(self._images))[np.newaxis, np.newaxis])[0]


class StreamEstimator:
    """
    Every frame through a network with memory.

    The network is not run on a blank frame once its memory has come to rest: once a blank frame
    gave back the memory and the answer that it was given, the next one would do the same.

    Parameters
    ----------
    engine : object
        What :func:`cs3d_ros.inference.open_engine` returns, of a bundle of kind ``stream``.
    """

    def __init__(self, engine):
        self._engine = engine
        self.inferences = self.skipped = 0
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._state = ()
        self._answer = None
        self._is_at_rest = False

    def push(self, image: np.ndarray) -> np.ndarray:
        """
        Return the estimate for a uint8 frame.

        Raises
        ------
        EngineError
            If the network fails; its memory is then forgotten, as it may be spoilt.
        """
        is_blank = not (image != BLANK_LEVEL).any()
        if is_blank and self._is_at_rest:
            self.skipped += 1
            return self._answer
        self.inferences += 1
        before = (self._answer,) + self._state
        try:
            self._answer, self._state = self._engine.run(
                scaled(image)[np.newaxis, np.newaxis], self._state
            )
            self._is_at_rest = is_blank and _are_equal(before, (self._answer,) + self._state)
        except EngineError:
            self.reset()
            raise
        return self._answer


def _are_equal(before, after):
    if before[0] is None:
        return False
    return all(
        np.array_equal(a, b) or np.allclose(a, b, AT_REST, AT_REST) for a, b in zip(before, after)
    )


def make_estimator(engine):
    """Return the estimator for an engine's kind of bundle."""
    return {'clip': ClipEstimator, 'stream': StreamEstimator}[engine.bundle.kind](engine)
