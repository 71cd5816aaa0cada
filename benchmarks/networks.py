"""
How long the networks take in ONNX Runtime, as the robot runs them: C3D is the peer.

    python -m benchmarks.networks             two threads, as the robot's default
    python -m benchmarks.networks THREADS

Weights are random: time does not depend on them. All networks take turns, so that whatever else
the machine does meets each of them; what counts is the ratio to C3D of the same run.
"""

import importlib.util
import os
import sys
import tempfile
import time

import numpy as np

CLIP_ROUNDS = 15
FRAMES_PER_ROUND = 20  # of streams, in each of the rounds
SIZE = 112  # px
EVENT_SHARE = 0.15  # of cells with events, as of a face that moves

POOLED = {'head': 'gap'}
SHIPPED = {'head': 'gap', 'stem_filters': 8, 'stem_stride': 2}
NETWORKS = (  # title, name, settings, whether in int8
    ('C3D', 'c3d', {}, False),
    ('CS3D, pooled head', 'cs3d', POOLED, False),
    ('the same, int8', 'cs3d', POOLED, True),
    ('CS3D, pooled head, 8 stem filters, stride 2', 'cs3d', SHIPPED, False),
    ('the same, int8', 'cs3d', SHIPPED, True),
    ('CS3D-Stream, a frame', 'stream', {'width': 1.0}, False),
    ('CS3D-Stream, half widths, a frame', 'stream', {'width': 0.5}, False),
)


def frames_of(rng, count) -> np.ndarray:
    """Return event frames (count, SIZE, SIZE) uint8 of a face that moves."""
    shape = (count, SIZE, SIZE)
    events = rng.integers(-2, 3, shape) * (rng.random(shape) < EVENT_SHARE)
    return np.clip(128 + 32 * events, 0, 255).astype(np.uint8)


class Contestant:
    """One network as a session, with the inputs that it goes on with."""

    def __init__(self, title, name, settings, is_int8, folder, threads):
        import torch

        from cs3d_ros.runtime import open_session
        from training.graph import onnx_model
        from training.models import build
        from training.quantize import quantized

        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.title, self.seconds, self.is_stream = title, [], name == 'stream'
        network = build(name, **settings).eval()
        model = onnx_model(network)
        frames = (frames_of(rng, 16).astype(np.float32) - 128) / 128
        with torch.inference_mode():
            logits = network(torch.from_numpy(frames)[None, None])
        self.expected = torch.softmax(logits, -1).reshape(-1, logits.shape[-1])[0].numpy()
        if is_int8:
            model = quantized(model, [frames_of(rng, 32)], runs=4)
        path = os.path.join(folder, '{}.onnx'.format(len(os.listdir(folder))))
        with open(path, 'wb') as file:
            file.write(model.SerializeToString())
        self.megabytes = os.path.getsize(path) / 1e6
        self._session = open_session(path, threads)
        first, *states = (tensor.name for tensor in self._session.get_inputs())
        shown = frames[0][None, None] if self.is_stream else frames[None, None]
        self._feed = {first: shown}
        for tensor in self._session.get_inputs()[1:]:
            self._feed[tensor.name] = np.zeros(tensor.shape, np.float32)
        self._states = states
        answer = self.run()[0]
        tolerance = 0.05 if is_int8 else 1e-4
        assert np.abs(answer - self.expected).max() <= tolerance, title

    def run(self):
        """Return the probabilities; a stream's memory goes on."""
        answer, *states = self._session.run(None, self._feed)
        self._feed.update(zip(self._states, states))
        return answer

    def take_turn(self):
        """Run once, or for a few frames, and note the wall time of each run."""
        for _ in range(FRAMES_PER_ROUND if self.is_stream else 1):
            begin = time.perf_counter()
            self.run()
            self.seconds.append(time.perf_counter() - begin)


def main(threads: int = 2) -> None:
    """Print the table; a line instead where what trains is missing."""
    missing = [name for name in ('torch', 'onnx') if importlib.util.find_spec(name) is None]
    if missing:
        print('\nnetworks: left out, {} is not installed'.format(', '.join(missing)))
        return
    with tempfile.TemporaryDirectory() as folder:
        contestants = [Contestant(*each, folder, threads) for each in NETWORKS]
        for contestant in contestants:
            contestant.take_turn()
            contestant.seconds.clear()  # the first turn allocates
        for _ in range(CLIP_ROUNDS):
            for contestant in contestants:
                contestant.take_turn()
    print('\n## Networks in ONNX Runtime, {} threads, wall time\n'.format(threads))
    print('| full widths but where told | ms, median (range) | of C3D | mean ms | MB |')
    print('|---|---|---|---|---|')
    clip = np.median(contestants[0].seconds)
    for each in contestants:
        ms = 1e3 * np.array(each.seconds)
        print(
            '| {} | {:.3g} ({:.3g} to {:.3g}) | 1/{:.3g} | {:.3g} | {:.1f} |'.format(
                each.title,
                np.median(ms),
                ms.min(),
                ms.max(),
                clip / np.median(each.seconds),
                ms.mean(),
                each.megabytes,
            )
        )


if __name__ == '__main__':
    main(*(int(argument) for argument in sys.argv[1:]))
