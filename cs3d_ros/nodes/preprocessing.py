"""
Events in, the face in them out.

In: ``events`` (dv_ros2_msgs/EventArray as raw bytes, best effort, so that every driver matches).
Out, reliable, while a face is tracked, stamp = end of the period: ``face/image``
(sensor_msgs/Image), ``face/roi`` (hri_msgs/NormalizedRegionOfInterest2D), and ``face/overlay``
(sensor_msgs/Image), for every period but only while someone subscribes.
"""

import time
from typing import List

from dv_ros2_msgs.msg import EventArray
from hri_msgs.msg import NormalizedRegionOfInterest2D
from sensor_msgs.msg import Image

from cs3d_ros import Cs3dError
from cs3d_ros.events import EventArrayDecoder, EventBatch, MessageError
from cs3d_ros.face import Box
from cs3d_ros.inference import SHIPPED_BUNDLE, read_bundle
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.clocks import TICK_S, ClockMap, Silence
from cs3d_ros.nodes.lifecycle import BURST, ManagedNode, run
from cs3d_ros.pipeline import FaceFrame, Preprocessor


class Preprocessing(ManagedNode):
    """The node; decoder and preprocessor do the work, within the callback."""

    def __init__(self, **options):
        super().__init__('preprocessing', **options)
        self._bundle = None
        self._last_counts = {}

    def configure(self) -> None:
        self._bundle = read_bundle(self.settings['bundle'] or SHIPPED_BUNDLE)
        roi = Box(*self.settings['roi'])
        if any(roi) and not (roi.width > 0 and roi.height > 0):
            raise Cs3dError(
                'parameter roi is x, y, width, height with a width and a height above '
                '0, got {}'.format(self.settings['roi'])
            )
        self._roi = roi if any(roi) else None
        self._image = self.output(Image, 'face/image', BURST)
        self._roi_publisher = self.output(NormalizedRegionOfInterest2D, 'face/roi', BURST)
        self._overlay = self.output(Image, 'face/overlay')

    def activate(self) -> None:
        self._decoder = EventArrayDecoder()
        self._preprocessor = None
        self._sensor_clock = ClockMap()
        self._silence = Silence()
        self._canvas = None
        self._loss = messages.LossCount()
        self._sizes = 0
        self._fault = ''
        self._begin_s, self._busy_s, self._last_counts = time.monotonic(), 0.0, {}
        self._events = self.input(
            EventArray,
            'events',
            self._on_events,
            self.settings['queue_depth'],
            best_effort=True,
            raw=True,
        )
        self._tick = self.every(TICK_S, self._on_tick)

    def deactivate(self) -> None:
        self.destroy_timer(self._tick)
        self.destroy_subscription(self._events)

    def cleanup(self) -> None:
        self._bundle = None

    def _on_events(self, data: bytes, info) -> None:
        begin_s = time.monotonic()
        self._loss.push(info)
        resets = self._decoder.counts.clock_resets
        try:
            batch = self._decoder.push(data)
        except MessageError as error:
            self._fault = str(error)
            return
        if self._decoder.counts.clock_resets > resets:
            self._sensor_clock.reset()
        if len(batch):
            self._push(batch)
        self._busy_s += time.monotonic() - begin_s

    def _push(self, batch: EventBatch) -> None:
        last_ns = int(batch.t[-1])
        preprocessor = self._preprocessor_for(batch)
        restarts = preprocessor.counts.restarts
        frames = preprocessor.push(batch)
        if preprocessor.counts.restarts > restarts:
            self._sensor_clock.reset()
        self._sensor_clock.meet(last_ns, self.now_ns())
        self._silence.end(last_ns)
        if self._overlay.get_subscription_count():
            self._canvas_for(batch).add(batch)
        self._publish(frames)

    def _preprocessor_for(self, batch: EventBatch) -> Preprocessor:
        old = self._preprocessor
        if old is None or (old.width, old.height) != (batch.width, batch.height):
            if old is not None:
                self._sizes += 1
                self._canvas = None
                self.get_logger().warn(
                    'sensor changed from {} x {} to {} x {}: began anew'.format(
                        old.width, old.height, batch.width, batch.height
                    )
                )
            self._preprocessor = Preprocessor(batch.width, batch.height, self._bundle, self._roi)
        return self._preprocessor

    def _on_tick(self) -> None:
        idle_s = self.settings['idle_ms'] * 1e-3
        now_ns = self._silence.tick(idle_s)
        # Without a camera there is no silence to tell of, only nothing.
        if now_ns is not None and self.count_publishers(self._events.topic_name):
            self._publish(self._preprocessor.advance(now_ns))

    def _publish(self, frames: List[FaceFrame]) -> None:
        for frame in frames:
            stamp_ns = self._sensor_clock.to_ros(frame.t_ns)
            if frame.image is not None:
                self._image.publish(
                    messages.image_message(frame.image, stamp_ns, self._decoder.frame_id)
                )
                self._roi_publisher.publish(
                    messages.roi_message(
                        frame.track,
                        self._preprocessor.width,
                        self._preprocessor.height,
                        stamp_ns,
                        self._decoder.frame_id,
                    )
                )
        if frames and self._overlay.get_subscription_count():
            self._draw(frames[-1])

    def _canvas_for(self, batch: EventBatch):
        if self._canvas is None:
            from cs3d_ros.draw import EventCanvas  # its OpenCV is wanted here alone

            self._canvas = EventCanvas(batch.width, batch.height)
        return self._canvas

    def _draw(self, frame: FaceFrame) -> None:
        from cs3d_ros.draw import draw_face

        if self._canvas is None:
            return
        image = draw_face(self._canvas.take(), frame.track.box if frame.track else None)
        self._overlay.publish(
            messages.image_message(
                image, self._sensor_clock.to_ros(frame.t_ns), self._decoder.frame_id
            )
        )

    def report(self):
        counts = dict(
            self._decoder.counts._asdict(),
            messages_lost=self._loss.lost,
            sensor_changes=self._sizes,
        )
        if self._preprocessor:
            counts.update(self._preprocessor.counts._asdict())
        elapsed_s = max(1e-3, time.monotonic() - self._begin_s)
        new = {name: counts[name] - self._last_counts.get(name, 0) for name in counts}
        values = dict(
            counts,
            events_per_s=new['events'] / elapsed_s,
            load=self._busy_s / elapsed_s,
            publishers=self.count_publishers(self._events.topic_name),
        )
        self._begin_s, self._busy_s, self._last_counts = time.monotonic(), 0.0, counts
        fault, self._fault = self._fault, ''
        return self._verdict(new, fault, values['publishers']) + (values,)

    def _verdict(self, new, fault, publishers):
        if fault:
            return messages.WARN, fault
        if publishers > 1:
            return (
                messages.WARN,
                '{} publishers on {}: one camera per graph, give each its own namespace'.format(
                    publishers, self._events.topic_name
                ),
            )
        for name in ('messages_lost', 'out_of_bounds', 'time_reversed', 'late'):
            if new.get(name):
                return messages.WARN, '{} {}'.format(new[name], _WORDS[name])
        if not publishers:
            return (
                messages.WARN,
                'nobody publishes {}: start the camera driver or remap the topic'.format(
                    self._events.topic_name
                ),
            )
        if not new['messages']:
            return messages.OK, 'no events arrive on {}'.format(self._events.topic_name)
        return messages.OK, 'face tracked' if new.get('face_frames') else 'no face'


_WORDS = {
    'messages_lost': 'messages lost on the way: raise queue_depth, or use config/fastdds.xml',
    'out_of_bounds': "events lie outside the sensor: is the driver's size right?",
    'time_reversed': 'events are older than their predecessors: is more than one camera on?',
    'late': 'events came after their period was closed: raise idle_ms',
}


def main(args=None) -> int:
    """Run the preprocessing node."""
    return run(Preprocessing, args)


if __name__ == '__main__':
    main()
