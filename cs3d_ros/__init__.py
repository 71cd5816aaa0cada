"""
See from events what a face expresses.

The chain, each arrow one folder::

    driver bytes, recordings ──events──▶ EventBatch ──events.cleaning──▶ EventBatch
        ──face──▶ FaceTrack, FaceSquare ──events.frames──▶ event frames
        ──inference──▶ Emotion ──nodes──▶ /emotion

``simulator`` stands before it (video to events), ``pipeline`` chains the steps without ROS,
``power`` measures beside it, ``draw``, ``render`` and ``cli`` show it, ``files`` writes what they
leave, ``runtime`` opens the networks, ``nodes`` put it behind ROS 2 topics.
Only ``nodes`` imports ROS.
"""

__version__ = '0.1.0'


class Cs3dError(Exception):
    """What went wrong outside the program, in one line that names the cure."""
