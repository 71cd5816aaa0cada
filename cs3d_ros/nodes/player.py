"""
Plays a recording, or a video by way of the simulator, as an event camera would send it.

Out: ``events`` (dv_ros2_msgs/EventArray or event_camera_msgs/EventPacket, by parameter; reliable,
so that reliable and best-effort subscribers both match), event times as recorded,
``header.stamp`` the ROS time of sending.
"""

from cs3d_ros.events import RecordingError
from cs3d_ros.nodes import playback
from cs3d_ros.nodes.lifecycle import run
from cs3d_ros.nodes.sender import EventSender
from cs3d_ros.simulator import open_source


class Player(EventSender):
    """The node; what is read ahead is bounded."""

    def __init__(self, **options):
        super().__init__('player', **options)

    @property
    def source(self) -> str:
        return self.settings['path']

    def size(self):
        if not self.source:
            raise RecordingError('parameter path is empty: name a recording or a video to play')
        with open_source(self.source) as recording:
            return recording.width, recording.height

    def pairs(self, bin_ns):
        return playback.played(self.source, bin_ns, self.settings['loop'])


def main(args=None) -> int:
    """Run the player."""
    return run(Player, args)


if __name__ == '__main__':
    main()
