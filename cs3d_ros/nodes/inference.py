"""
Face images in, emotions out.

In: ``face/image`` (sensor_msgs/Image, reliable). Out, reliable, stamp of the newest image used:
``emotion`` (hri_msgs/Expression), ``emotion/distribution`` (vision_msgs/Classification).

The network runs in a thread of its own, on every image in order; where it cannot keep up, new
images are dropped and counted, as is what waits at the deactivation.
"""

import contextlib
import queue
import threading
import time

from hri_msgs.msg import Expression
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification

from cs3d_ros import Cs3dError
from cs3d_ros.events import MessageError
from cs3d_ros.inference import SHIPPED_BUNDLE, open_engine
from cs3d_ros.nodes import messages
from cs3d_ros.nodes.lifecycle import BURST, ManagedNode, run
from cs3d_ros.nodes.parameters import settling_of
from cs3d_ros.pipeline import Recognizer


class Inference(ManagedNode):
    """The node; its worker owns the recognizer while active."""

    def __init__(self, **options):
        super().__init__('inference', **options)
        self._recognizer = None
        self._work = None
        self._worker = None
        self._counts = dict.fromkeys(
            ('images', 'estimates', 'dropped', 'malformed', 'engine_errors'), 0
        )
        self._begin_interval()

    def configure(self) -> None:
        engine = open_engine(
            self.settings['bundle'] or SHIPPED_BUNDLE,
            self.settings['threads'],
            self.settings['backend'],
            self.settings['precision'],
            self.settings['engine_cache'],
            self.say,
        )
        self.get_logger().info(engine.reason)
        if engine.fault:
            self.get_logger().warn(engine.fault)
        self._bundle, self._engine_fault = engine.bundle, engine.fault
        self._backend = {'backend': engine.backend, 'backend_reason': engine.reason}
        settling = settling_of(self.settings, engine.bundle.settling)
        self._recognizer = Recognizer(engine, settling)
        self._emotion = self.output(Expression, 'emotion', BURST)
        self._distribution = self.output(Classification, 'emotion/distribution', BURST)

    def activate(self) -> None:
        self._recognizer.reset()
        self._loss = messages.LossCount()
        self._missed = self._counts['dropped']
        self._begin_interval()
        self._work = queue.Queue(self.settings['queue_frames'])
        self._worker = threading.Thread(target=self._recognize, name='inference', daemon=True)
        self._worker.start()
        self._images = self.input(Image, 'face/image', self._on_image, BURST)

    def deactivate(self) -> None:
        self.destroy_subscription(self._images)
        self._drop_waiting()
        self._work.put(None)
        self._worker.join()

    def _drop_waiting(self) -> None:
        # Whoever ends the node waits for it, and is not to wait for answers that nobody wants.
        with contextlib.suppress(queue.Empty):
            while True:
                self._work.get_nowait()
                self._counts['dropped'] += 1

    def cleanup(self) -> None:
        self._recognizer = None

    def _on_image(self, message: Image, info) -> None:
        self._loss.push(info)
        self._counts['images'] += 1
        try:
            image = messages.image_array(message, self._bundle.size)
        except MessageError as error:
            self._counts['malformed'] += 1
            self._last_fault = str(error)
            return
        try:
            self._work.put_nowait((image, message.header))
        except queue.Full:
            self._counts['dropped'] += 1

    def _recognize(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            try:
                self._answer(*work)
            except Cs3dError as error:
                self._counts['engine_errors'] += 1
                self._last_fault = str(error)
            except Exception as error:  # the edge of the thread
                if self.context.ok():
                    self._counts['engine_errors'] += 1
                    self._last_fault = 'unexpected: {!r}'.format(error)

    def _answer(self, image, header) -> None:
        before, begin_s = self._recognizer.inferences, time.monotonic()
        emotion = self._recognizer.push(image, messages.time_ns(header.stamp))
        if self._recognizer.inferences > before:
            self._inference_ms.append((time.monotonic() - begin_s) * 1e3)
        if emotion is None:
            return
        self._emotion.publish(messages.expression_message(emotion, header.frame_id))
        self._distribution.publish(
            messages.distribution_message(emotion, self._bundle.classes, header.frame_id)
        )
        self._counts['estimates'] += 1
        self._latency_ms.append((self.now_ns() - emotion.t_ns) * 1e-6)

    def _begin_interval(self) -> None:
        self._inference_ms, self._latency_ms = [], []
        self._last_fault = ''
        self._begin_s = time.monotonic()

    def report(self):
        elapsed_s = max(1e-3, time.monotonic() - self._begin_s)
        times, latencies, fault = self._inference_ms, self._latency_ms, self._last_fault
        self._begin_interval()
        values = dict(
            self._counts,
            images_lost=self._loss.lost,
            bundle=self._bundle.path,
            **self._backend,
            inferences=self._recognizer.inferences,
            skipped=self._recognizer.skipped,
            inferences_per_s=len(times) / elapsed_s,
            estimates_per_s=len(latencies) / elapsed_s,
        )
        if times:
            values['ms_per_inference'] = sum(times) / len(times)
        if latencies:
            values.update(
                latency_ms=sum(latencies) / len(latencies), latency_max_ms=max(latencies)
            )
        if fault:
            return messages.WARN, fault, values
        missed = self._counts['dropped'] + self._loss.lost
        new_missed, self._missed = missed - self._missed, missed
        if new_missed:
            return (
                messages.WARN,
                '{} images missed: the network is too slow for this machine, or queue_frames '
                'too short'.format(new_missed),
                values,
            )
        if self._engine_fault:
            return messages.WARN, self._engine_fault, values
        return messages.OK, 'recognizing' if latencies else 'no face images', values


def main(args=None) -> int:
    """Run the inference node."""
    return run(Inference, args)


if __name__ == '__main__':
    main()
