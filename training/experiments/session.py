"""A model in ONNX Runtime that is fed something like event frames, for as long as one likes."""

from pathlib import Path

import numpy as np

from cs3d_ros.inference.bundle import NEXT
from cs3d_ros.inference.timing import event_like
from cs3d_ros.runtime import open_session

THREADS = 2


class Session:
    """
    A network on the CPU as the robot runs it, batch 1.

    Parameters
    ----------
    path : Path
        Of the ONNX model; what it puts out as ``next_`` and a name goes in under that name again.
    """

    def __init__(self, path: Path, threads: int = THREADS):
        self._session = open_session(str(path), threads)
        first, *states = self._session.get_inputs()
        self._feeds = {first.name: event_like(first.shape)}
        self._feeds.update({s.name: np.zeros(s.shape, np.float32) for s in states})
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self):
        """Run the network once."""
        for name, value in zip(self._outputs, self._session.run(None, self._feeds)):
            if name.startswith(NEXT):
                self._feeds[name[len(NEXT) :]] = value
