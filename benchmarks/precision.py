"""
How much fp16 changes what the shipped networks say of the demo's face, by ONNX Runtime.

    python -m benchmarks.precision

Weights and the results of operators are rounded as ``training.half`` writes them. A GPU also adds
up in other orders; no GPU was asked.
"""

import os
import tempfile
from pathlib import Path

import numpy as np

DEMO = 'demo_face.aedat4'


def shipped_bundles() -> list:
    """Return the paths of the bundles in the package; the face finder beside them is none."""
    from cs3d_ros.inference import SHIPPED_BUNDLE

    return sorted(Path(SHIPPED_BUNDLE).parent.glob('cs3d*.onnx'))


def face_frames(bundle, path) -> np.ndarray:
    """Return the face frames of a recording (T, size, size), by the robot's own chain."""
    from cs3d_ros.events import open_recording
    from cs3d_ros.pipeline import Preprocessor

    with open_recording(path) as recording:
        preprocessor = Preprocessor(recording.width, recording.height, bundle)
        frames = [frame for batch in recording.batches() for frame in preprocessor.push(batch)]
    return np.stack([frame.image for frame in frames if frame.image is not None])


def answers_of(engine, images) -> np.ndarray:
    """Return the probabilities of an engine at every frame, or every fourth clip."""
    from cs3d_ros.inference.estimator import scaled

    length, state, answers = engine.bundle.clip_frames, (), []
    for begin in range(0, len(images) - length + 1, 4 if length > 1 else 1):
        frames = scaled(images[begin : begin + length]).reshape(engine.bundle.input_shape)
        answer, state = engine.run(frames, state)
        answers.append(answer)
    return np.array(answers)


def main() -> None:
    """Print the table."""
    from cs3d_ros.inference import OnnxRuntimeEngine
    from training.half import write_half

    print('| fp16, change of probabilities | median | mean | largest | same class | of |')
    print('|---|---|---|---|---|---|')
    for path in shipped_bundles():
        exact = OnnxRuntimeEngine(str(path))
        with tempfile.TemporaryDirectory() as aside:
            half_path = os.path.join(aside, path.name)
            write_half(path, Path(half_path))
            half = OnnxRuntimeEngine(half_path)
        images = face_frames(exact.bundle, path.parent / DEMO)
        expected, found = answers_of(exact, images), answers_of(half, images)
        change = np.abs(found - expected).max(1)
        same = (found.argmax(1) == expected.argmax(1)).mean()
        print(
            '| `{}` | {:.1e} | {:.1e} | {:.1e} | {:.1f} % | {} |'.format(
                path.name, np.median(change), change.mean(), change.max(), 100 * same, len(change)
            )
        )


if __name__ == '__main__':
    main()
