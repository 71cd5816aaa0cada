"""Real recordings from the player over DDS into the graph: nothing is lost on the way."""

import pytest
from conftest import Ear

from cs3d_ros.events import ENCODERS

# Path below the shared recordings, events, and those of them that are ON: from the README there,
# counted by independent decoders.
RECORDINGS = [
    ('davis346_bench.aedat4', 117667, 72363),
    ('davis346_slice_zstd.aedat4', 10157, 5412),
    ('davis346_slice_none.aedat4', 10157, 5412),
]


@pytest.mark.parametrize('message_type', sorted(ENCODERS))
@pytest.mark.parametrize('path, events, on', RECORDINGS, ids=[row[0] for row in RECORDINGS])
def test_recording_arrives_whole(peer, start, shared_data, bundle, path, events, on, message_type):
    ear = Ear(peer, message_type)
    start(preprocessing={'bundle': bundle, 'idle_ms': 2000.0})
    peer.wait_status('preprocessing', 'nobody publishes')
    start(
        player={
            'path': str(shared_data / 'recordings' / path),
            'wait_for': 2,
            'message_type': message_type,
        }
    )
    peer.wait_status('player', 'at the end', events=events)
    values = peer.wait_status('preprocessing', events=events)
    peer.wait(lambda: len(ear) >= events, 'every event here')
    assert sum(int(batch.p.sum()) for batch in ear.batches) == on
    assert len(ear) == events
    faults = ('malformed', 'dropped', 'messages_lost', 'clock_resets', 'unknown', 'restarts')
    assert {name: values[name] for name in faults} == dict.fromkeys(faults, '0')
