import numpy as np
import pytest
from hri_msgs.msg import Expression
from moving import PERIOD_NS

RATE = 1_000_000  # events/s
SECONDS = 5
SIZE = 346, 260
ROI = [100.0, 60.0, 140.0, 140.0]


@pytest.fixture
def dense_recording(tmp_path):
    """Return the path of five million events, as a lively DAVIS346 sends them in five seconds."""
    random = np.random.default_rng(14)
    count = RATE * SECONDS
    path = tmp_path / 'dense.npz'
    np.savez(
        str(path),
        x=random.integers(0, SIZE[0], count).astype(np.uint16),
        y=random.integers(0, SIZE[1], count).astype(np.uint16),
        t=(np.arange(count) * (10**9 // RATE)).astype(np.int64),
        p=random.integers(0, 2, count).astype(np.uint8),
        width=SIZE[0],
        height=SIZE[1],
    )
    return str(path)


def test_a_million_events_per_second_lose_nothing(peer, start, dense_recording, bundle):
    emotions = peer.listen(Expression, 'emotion')
    start(preprocessing={'bundle': bundle, 'roi': ROI}, inference={'bundle': bundle})
    peer.wait_publishers('emotion')
    start(player={'path': dense_recording})
    events = RATE * SECONDS
    peer.wait_status('player', 'at the end', events=events)
    preprocessing = peer.wait_status('preprocessing', events=events)
    assert (preprocessing['messages_lost'], preprocessing['late']) == ('0', '0')
    due = SECONDS * 10**9 // PERIOD_NS // 2  # the tiny bundle hops two frames: 15 per second
    peer.wait(lambda: len(emotions) >= due - 1, '/emotion')
    inference = peer.statuses['inference'][-1][2]
    assert (inference['dropped'], inference['engine_errors']) == ('0', '0')
