"""
Events in, the face in them out.

In: ``events`` (dv_ros2_msgs/EventArray or event_camera_msgs/EventPacket, whichever is published,
as raw bytes, best effort, so that every driver matches).
Out, reliable, while a face is tracked, stamp = end of the period: ``face/image``
(sensor_msgs/Image), ``face/roi`` (hri_msgs/NormalizedRegionOfInterest2D), and ``face/overlay``
(sensor_msgs/Image), for every period but only while someone subscribes.
"""

from typing import List

from hri_msgs.msg import NormalizedRegionOfInterest2D
from sensor_msgs.msg import Image

from cs3d_ros import Cs3dError
from cs3d_ros.events import Cleaner, CleaningSettings, EventBatch
from cs3d_ros.events.periods import LONGEST_GAP_NS
from cs3d_ros.face import Box
from cs3d_ros.inference import SHIPPED_BUNDLE, read_bundle
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.clocks import TICK_S, Silence
from cs3d_ros.nodes.event_input import EventInput
from cs3d_ros.nodes.lifecycle import BURST, ManagedNode, run
from cs3d_ros.nodes.verdicts import (
    Interval,
    Topic,
    cleaning_values,
    hot_pixel_words,
    verdict,
)
from cs3d_ros.pipeline import FaceFrame, Preprocessor


class Preprocessing(ManagedNode):
    """The node; the stream and the preprocessor do the work, within the callback."""

    def __init__(self, **options):
        super().__init__('preprocessing', **options)
        self._bundle = None

    def configure(self) -> None:
        self._bundle = read_bundle(self.settings['bundle'] or SHIPPED_BUNDLE)
        roi = Box(*self.settings['roi'])
        if any(roi) and not (roi.width > 0 and roi.height > 0):
            raise Cs3dError(
                'parameter roi is x, y, width, height with a width and a height above '
                '0, got {}'.format(self.settings['roi'])
            )
        self._roi = roi if any(roi) else None
        self._cleaning = self._read_cleaning()
        self._image = self.output(Image, 'face/image', BURST)
        self._roi_publisher = self.output(NormalizedRegionOfInterest2D, 'face/roi', BURST)
        self._overlay = self.output(Image, 'face/overlay')

    def _read_cleaning(self) -> CleaningSettings:
        settings = CleaningSettings(
            hot_pixels=self.settings['hot_pixels'],
            flicker_hz=self.settings['flicker_hz'],
            refractory_ns=round(self.settings['refractory_us'] * 1e3),
            background_activity_ns=round(self.settings['background_activity_ms'] * 1e6),
            rate_hz=self.settings['max_events_per_s'],
        )
        try:
            Cleaner(1, 1, settings)
        except ValueError as error:
            raise Cs3dError('parameters of cleaning do not fit: {}'.format(error)) from error
        return settings

    def activate(self) -> None:
        self._preprocessor = self._canvas = None
        self._silence = Silence()
        self._sizes = 0
        self._interval = Interval()
        self._events = EventInput(
            self, 'events', self._on_events, self.settings['queue_depth'], self._begin_anew
        )
        self._tick = self.every(TICK_S, self._on_tick)

    def deactivate(self) -> None:
        self.destroy_timer(self._tick)
        self._events.close()

    def cleanup(self) -> None:
        self._bundle = None

    def _begin_anew(self) -> None:
        if self._preprocessor is not None:
            self._preprocessor.reset()
        self._silence = Silence()

    def _on_events(self, batch: EventBatch) -> None:
        frames = self._preprocessor_for(batch).push(batch)
        self._silence.end(int(batch.t[-1]))
        # That of the period before a leap has no time that is known any more.
        oldest_ns = int(batch.t[0]) - LONGEST_GAP_NS
        self._publish([frame for frame in frames if frame.t_ns >= oldest_ns])

    def _paint(self, kept: EventBatch) -> None:
        if self._overlay.get_subscription_count():
            self._canvas_for(kept).add(kept)

    def _preprocessor_for(self, batch: EventBatch) -> Preprocessor:
        old = self._preprocessor
        if old is None or (old.width, old.height) != (batch.width, batch.height):
            new = Preprocessor(
                batch.width,
                batch.height,
                self._bundle,
                self._roi,
                self._cleaning,
                self._paint,
            )
            if old is not None:
                self._sizes += 1
                self._canvas = None
                new.counts = old.counts
                self.get_logger().warn(
                    'sensor changed from {} x {} to {} x {}: began anew'.format(
                        old.width, old.height, batch.width, batch.height
                    ),
                    throttle_duration_sec=1.0,  # two cameras on one topic change it all the time
                )
            self._preprocessor = new
        return self._preprocessor

    def _on_tick(self) -> None:
        idle_s = self.settings['idle_ms'] * 1e-3
        now_ns = self._silence.tick(idle_s)
        # Without a camera there is no silence to tell of, only nothing.
        if now_ns is not None and self._events.publishers:
            self._publish(self._preprocessor.advance(now_ns))

    def _publish(self, frames: List[FaceFrame]) -> None:
        stream, preprocessor = self._events.stream, self._preprocessor
        for frame in frames:
            if frame.image is None:
                continue
            stamp_ns, frame_id = stream.clock.to_ros(frame.t_ns), stream.frame_id
            self._image.publish(messages.image_message(frame.image, stamp_ns, frame_id))
            self._roi_publisher.publish(
                messages.roi_message(
                    frame.track, preprocessor.width, preprocessor.height, stamp_ns, frame_id
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
        stream = self._events.stream
        self._overlay.publish(
            messages.image_message(image, stream.clock.to_ros(frame.t_ns), stream.frame_id)
        )

    def report(self):
        events = self._events
        counts = dict(events.stream.counts(), sensor_changes=self._sizes)
        if self._preprocessor:
            chain = self._preprocessor.counts._asdict()
            del chain['events']  # those of the stream that were not late
            counts.update(cleaning_values(chain.pop('cleaned')), **chain)
        values, new = self._interval.close(counts, events.busy_s)
        if self._preprocessor:
            values.update(hot_pixels=hot_pixel_words(self._preprocessor.cleaner.report()))
        values.update(
            type=events.stream.type_name or 'none',
            publishers=events.publishers,
            clock_pace=events.stream.clock.pace,
        )
        is_warning, words = verdict(
            new,
            Topic(events.topic, events.publishers, events.complaint, events.stream.take_fault()),
        )
        return messages.WARN if is_warning else messages.OK, words, values


def main(args=None) -> int:
    """Run the preprocessing node."""
    return run(Preprocessing, args)


if __name__ == '__main__':
    main()
