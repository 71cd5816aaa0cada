"""
What one network holds in memory: ``python -m training.experiments.footprint MODEL.onnx``.

A process of its own, without torch, that does what a robot does: opens a session and runs it.
Prints MB of resident memory as JSON: ``before`` the model was opened and ``peak``.
"""

import json
import re
import sys
from pathlib import Path

from cs3d_ros.runtime import import_runtime
from training.experiments.session import Session

RUNS = 5


def resident_mb() -> float | None:
    """Return the most resident memory that this process had so far, MB; None off Linux."""
    try:
        status = Path('/proc/self/status').read_text()
    except OSError:
        return None
    # not getrusage: its maximum begins with that of the parent, whose memory fork had shared
    return int(re.search(r'VmHWM:\s+(\d+) kB', status).group(1)) / 1e3


def main():
    """Print the footprint of a model."""
    import_runtime()
    before = resident_mb()
    session = Session(Path(sys.argv[1]))
    for _ in range(RUNS):
        session.run()
    print(json.dumps({'before': before, 'peak': resident_mb()}))


if __name__ == '__main__':
    main()
