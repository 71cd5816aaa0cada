"""Peak memory of a process of its own that writes and reads a file of some 100 MB."""

import os
import subprocess
import sys

import pytest

GROWTH_MIB = 80  # of which the events of the file would take over 80 by themselves

PROGRAM = """
import resource, sys
import numpy as np
from cs3d_ros.events import EventBatch, encode_evt3, open_recording, write_recording

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def batches(count, size=100_000):
    x = (np.arange(size) * 7919 % 346).astype(np.uint16)
    y = (np.arange(size) * 104729 % 260).astype(np.uint16)
    p = (x & 1).astype(np.uint8)
    for number in range(count):
        t = number * 5_000_000 + np.arange(size) * 50
        yield EventBatch(x, y, t, p, 346, 260)

path, count = sys.argv[1], int(sys.argv[2])
for part in batches(1):
    pass
before = peak()
if path.endswith('.raw'):
    with open(path, 'wb') as file:
        file.write(b'% evt 3.0\\n% geometry 346x260\\n')
        for part in batches(count):
            file.write(encode_evt3(part))
else:
    write_recording(path, batches(count), 346, 260)
print(sum(map(len, open_recording(path).batches())), peak() - before)
"""


@pytest.mark.skipif(
    'asan' in os.environ.get('LD_PRELOAD', ''), reason='the sanitizer keeps memory'
)
@pytest.mark.parametrize(
    'name, count', [('a.aedat4', 65), ('a.npz', 65), ('a.db3', 65), ('a.raw', 150)]
)
def test_memory_does_not_grow_with_the_file(tmp_path, name, count):
    path = str(tmp_path / name)
    output = subprocess.check_output([sys.executable, '-c', PROGRAM, path, str(count)])
    events, growth_mib = map(int, output.split())
    assert events == count * 100_000
    assert growth_mib < GROWTH_MIB
    (tmp_path / name).unlink()
