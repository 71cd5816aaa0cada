"""
Sees what a camera sees as an event camera would: events of a webcam, live.

Out: ``events`` (dv_ros2_msgs/EventArray or event_camera_msgs/EventPacket, by parameter; reliable),
sent one frame after they happened, for only then is known what happened between two frames. Event
times count from the first frame, ``header.stamp`` is the ROS time of sending. Where the machine is
too slow, frames are dropped and that is said on ``/diagnostics``; nothing lags behind.

A video file or a folder of images can stand for the camera; they run in their own time, too.
"""

from cs3d_ros.events.recordings.recording import cut
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.capture import Capture
from cs3d_ros.nodes.lifecycle import run
from cs3d_ros.nodes.sender import EventSender
from cs3d_ros.simulator import PRESETS, EventCamera, camera_index, open_frames

MANY_DROPPED = 0.1  # of the frames since the last report; one now and then is no matter


class Webcam(EventSender):
    """The node; besides the sender's threads one reads the camera and keeps the newest frame."""

    def __init__(self, **options):
        super().__init__('webcam', **options)
        self._capture = None
        self._reported = 0, 0  # frames and frames dropped by then

    @property
    def source(self) -> str:
        name = self.settings['source']
        index = camera_index(name)
        return name if index is None else 'camera {}'.format(index)

    def size(self):
        with self._open() as frames:
            return self._sensor(frames.info)

    def _open(self):
        return open_frames(self.settings['source'], self.settings['fps'] or None)

    def _sensor(self, info):
        width = min(self.settings['width'], info.width)
        return width, max(1, round(width * info.height / info.width))

    def pairs(self, bin_ns):
        settings, last_ns = self.settings, None
        self._reported = 0, 0
        with self._open() as frames, Capture(frames, self.stop) as self._capture:
            camera = EventCamera(
                *self._sensor(frames.info),
                settings=PRESETS[settings['preset']],
                upsample=settings['upsample'],
            )
            for frame, t_ns in self._capture:
                batch = camera.push(frame, t_ns)
                if last_ns == 0:
                    # The first of what is between two frames is due when the second is there.
                    self.pace.wait_until(last_ns, 1.0)
                last_ns = t_ns
                for part in cut([batch], bin_ns):
                    yield part, 0.0

    def report(self):
        level, words, values = super().report()
        if self._capture is None:
            return level, words, values
        frames, dropped = self._capture.frames, self._capture.dropped
        new, lost = frames - self._reported[0], dropped - self._reported[1]
        self._reported = frames, dropped
        if level == messages.OK and lost > MANY_DROPPED * new:
            level = messages.WARN
            words = (
                'too slow: {} of {} frames were dropped since the last report: lower width, or '
                'set upsample to 1'.format(lost, new)
            )
        position_s = self._capture.time_ns * 1e-9
        values.update(frames=frames, frames_dropped=dropped, position_s=position_s)
        return level, words, values


def main(args=None) -> int:
    """Run the webcam."""
    return run(Webcam, args)


if __name__ == '__main__':
    main()
