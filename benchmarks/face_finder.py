"""
How long the face finder takes per period, beside the network that reads the face it finds.

    python -m benchmarks.face_finder

The finder sees the recording of `make demo`, the shipped network something like event frames. They
take turns, period by period, so that whatever else the machine does meets both.
"""

import os
import time

import numpy as np

from benchmarks.measure import machine
from cs3d_ros.events import concatenate, open_recording
from cs3d_ros.face import FaceFinder
from cs3d_ros.inference import SHIPPED_BUNDLE, OnnxRuntimeEngine, make_estimator
from cs3d_ros.inference.timing import event_like

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEMO = os.path.join(ROOT, 'cs3d_ros', 'models', 'demo_face.aedat4')
ROUNDS = 3
THREADS = 1  # what the finder has


def main() -> None:
    """Print the table."""
    with open_recording(DEMO) as recording:
        events = concatenate(list(recording.batches()))
    engine = OnnxRuntimeEngine(SHIPPED_BUNDLE, THREADS)
    period_ns, size = engine.bundle.period_ns, engine.bundle.size
    face = (128 + 128 * event_like((size, size))).astype(np.uint8)
    seconds = {'face finder': [], 'expression': []}
    for _ in range(ROUNDS):
        finder, estimator = FaceFinder(events.width, events.height), make_estimator(engine)
        for end_ns in range(period_ns, int(events.t[-1]), period_ns):
            present = events.between(end_ns - period_ns, end_ns)
            begin = time.perf_counter()
            finder.add(present)
            finder.step(end_ns)
            middle = time.perf_counter()
            estimator.push(face)
            seconds['face finder'].append(middle - begin)
            seconds['expression'].append(time.perf_counter() - middle)
    print('\n## Per period, {}, one thread, wall time\n'.format(machine()))
    print('| | mean ms | 99 % | share |')
    print('|---|---|---|---|')
    whole = sum(np.mean(own) for own in seconds.values())
    for name, own in seconds.items():
        print(
            '| {} | {:.2f} | {:.2f} | {:.0%} |'.format(
                name, 1e3 * np.mean(own), 1e3 * np.percentile(own, 99), np.mean(own) / whole
            )
        )


if __name__ == '__main__':
    main()
