"""Real recordings from the player over DDS into the graph: nothing is lost on the way."""

import pytest
from lifecycle_msgs.msg import Transition
from peer import PROMPT, Ear, Peer

from cs3d_ros.events import ENCODERS
from cs3d_ros.nodes import bringup

# Path below the shared recordings, ON and OFF events: counted by independent decoders, see the
# README there and test/events/test_event_packet.py.
RECORDINGS = [
    ('davis346_bench.aedat4', 72363, 45304),
    ('davis346_slice_zstd.aedat4', 5412, 4745),
    ('davis346_slice_none.aedat4', 5412, 4745),
    ('evt3_vga_rosbag2', 125183, 218291),
    ('evt3_hd_trigger_rosbag2', 41439, 41030),
    ('libcaer_vga_rosbag2', 14696, 11801),
    ('libcaer_cmp_davis346_mcap', 211043, 360223),
    ('mono_rosbag2', 50, 50),
    ('prophesee_sparklers_evt2.raw', 57453, 113473),
    ('imx636_evt3.raw', 35418, 37342),
]
FAULTS = ('malformed', 'dropped', 'messages_lost', 'clock_resets', 'unknown', 'restarts')
NODES = ('player', 'preprocessing')


@pytest.fixture(scope='module')
def stage(ros, bundle):
    """Return a peer beside a player and a preprocessing node that lives through all tests."""
    peer = Peer('recordings')
    nodes = {
        'player': dict(PROMPT, wait_for=2, rate=10.0, autostart=False),
        'preprocessing': dict(PROMPT, bundle=bundle, idle_ms=2000.0, autostart=False),
    }
    with bringup.Graph(nodes, peer.namespace):
        assert peer.change('preprocessing', Transition.TRANSITION_CONFIGURE)
        yield peer
    peer.close()


@pytest.fixture
def play(stage):
    """Return a function that has the player play a recording to the preprocessing node."""

    def play_file(path, message_type):
        stage.set_parameters('player', path=str(path), message_type=message_type)
        assert stage.change('player', Transition.TRANSITION_CONFIGURE)
        assert all(stage.change(node, Transition.TRANSITION_ACTIVATE) for node in NODES)

    yield play_file
    for node in NODES:
        stage.change(node, Transition.TRANSITION_DEACTIVATE)
        stage.wait_status(node, 'not active')
    stage.change('player', Transition.TRANSITION_CLEANUP)


@pytest.mark.parametrize('message_type', sorted(ENCODERS))
@pytest.mark.parametrize('name, on, off', RECORDINGS, ids=[row[0] for row in RECORDINGS])
def test_recording_arrives_whole(stage, play, shared_data, name, on, off, message_type):
    ear = Ear(stage, message_type)
    play(shared_data / 'recordings' / name, message_type)
    stage.wait_status('player', 'at the end', events=on + off)
    values = stage.wait_status('preprocessing', events=on + off, type=ENCODERS[message_type][0])
    stage.wait(lambda: len(ear) >= on + off, 'every event here')
    ear.close()
    told_on = sum(batch.on_count for batch in ear.batches)
    assert (told_on, len(ear) - told_on) == (on, off)
    assert {name: values[name] for name in FAULTS} == dict.fromkeys(FAULTS, '0')
