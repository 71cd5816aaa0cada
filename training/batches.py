"""Batches of examples, made ahead of the training that asks for them."""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple

import numpy as np
import torch


class Examples(NamedTuple):
    """
    What a network learns from at once: n windows, with one target each, or sequences, with K = T.

    A weight of 0 leaves a target out.
    """

    frames: np.ndarray  # (n, T, s, s) uint8
    worn: np.ndarray  # (n, K) int64, index into EXPRESSIONS
    worn_weight: np.ndarray  # (n, K) float32
    changing: np.ndarray  # (n, K) int64, index into LABELS
    changing_weight: np.ndarray  # (n, K) float32


def to_input(frames) -> torch.Tensor:
    """Return clips (n, 1, T, h, w) float32 of frames (n, T, h, w) uint8, as the robot does."""
    return ((torch.as_tensor(frames).float() - 128) / 128).unsqueeze(1)


class Batches:
    """
    An epoch's batches, made by threads ahead of the one who asks for them, in a fixed order.

    Parameters
    ----------
    make : callable
        Takes the number of a batch, returns Examples.
    numbers : range
    loaders : int
        Threads; cutting frees the interpreter, so that they run side by side.

    Attributes
    ----------
    waited_s : float
        Spent so far by the one who asked, waiting for data.
    """

    AHEAD = 2  # batches per thread

    def __init__(self, make: Callable[[int], Examples], numbers: range, loaders: int = 1):
        self._make, self._numbers, self._loaders = make, numbers, loaders
        self.waited_s = 0.0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self):
        numbers, waiting = iter(self._numbers), deque()
        with ThreadPoolExecutor(self._loaders) as pool:
            try:
                while True:
                    while len(waiting) < self.AHEAD * self._loaders + 1:
                        number = next(numbers, None)
                        if number is None:
                            break
                        waiting.append(pool.submit(self._make, number))
                    if not waiting:
                        return
                    began = time.monotonic()
                    examples = waiting.popleft().result()
                    self.waited_s += time.monotonic() - began
                    yield Examples(*map(torch.from_numpy, examples))
            finally:
                for future in waiting:
                    future.cancel()
