import time

import numpy as np
import pytest
from tiny_onnx import write_tiny_bundle, write_tiny_stream

from cs3d_ros.inference import open_engine
from cs3d_ros.inference.timing import LEAST_RUNS, WARM_UP, event_like, repeated, time_runs


def test_events_are_as_sparse_as_on_faces():
    frame = event_like((1, 1, 112, 112))
    assert 0.1 < (frame != 0).mean() < 0.2
    assert set(np.unique(frame * 128)) <= set(range(-128, 128, 32)) | {127.0}


def test_times_are_those_of_the_runs():
    waits_s = iter([0.0] * WARM_UP + [0.002] * (LEAST_RUNS - 1) + [0.05])
    timing = time_runs(lambda: time.sleep(next(waits_s)), seconds=0.0)
    assert timing.runs == LEAST_RUNS
    assert 0.002 <= timing.low_s <= timing.median_s < 0.02
    assert timing.worst_s >= 0.05
    assert timing.median_s < timing.mean_s < timing.worst_s
    assert timing.low_s <= timing.high_s <= timing.worst_s


def test_runs_go_on_for_as_long_as_asked():
    began_s = time.perf_counter()
    timing = time_runs(lambda: time.sleep(0.001), seconds=0.3)
    assert 0.3 <= time.perf_counter() - began_s < 3.0
    assert timing.runs > LEAST_RUNS


class Recorder:
    """An engine that keeps what it was given."""

    def __init__(self, engine):
        self.bundle, self._engine, self.states = engine.bundle, engine, []

    def run(self, frames, state=()):
        self.states.append(state)
        return self._engine.run(frames, state)


@pytest.mark.parametrize('write', [write_tiny_bundle, write_tiny_stream])
def test_memory_of_a_stream_goes_on(tmp_path, write):
    engine = Recorder(open_engine(write(tmp_path / 'a.onnx'), threads=1))
    run = repeated(engine)
    for _ in range(3):
        run()
    memories = [float(np.asarray(state[0]).squeeze()) for state in engine.states if state]
    assert len(memories) == (2 if engine.bundle.kind == 'stream' else 0)
    assert memories == sorted(set(memories), key=abs)  # each further from 0 than the one before
