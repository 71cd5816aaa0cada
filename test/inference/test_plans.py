"""The cache of engines under processes that are killed, meet, or have no room; over fakes."""

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from tiny_onnx import write_tiny_stream

from cs3d_ros.inference.engine import EngineError
from cs3d_ros.inference.plans import Key, PlanError, building, plan_path, read_plan, write_plan

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_S = 60.0  # far more than a busy machine takes

KEY = Key('5e1f' * 16, '8.2.1.8', 'NVIDIA Tegra X1, compute capability 5.3', 'fp16')

# `cs3d build-engine` on a machine with a GPU; what is particular to a test comes as the first
# argument. A build leaves a line in the file `built`.
CHILD = """
import os, resource, signal, sys, time
from fake_cuda import FakeCudart, install
from fake_tensorrt import make_tensorrt
cuda = FakeCudart()
trt = make_tensorrt('8.2', cuda)
sys.modules.update(install(cuda), tensorrt=trt)
def build():
    with open('built', 'a') as file:
        file.write('once')
trt.on_build = build
exec(sys.argv[1])
from cs3d_ros.cli import main
sys.exit(main(['build-engine', 'stream.onnx', '--engine-cache', 'engines']))
"""


class Place:
    """A folder with a bundle, in which processes build its engine."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        write_tiny_stream(folder / 'stream.onnx')
        self.environment = dict(
            os.environ, PYTHONPATH=os.pathsep.join(map(str, (ROOT, HERE))), PYTHONUNBUFFERED='1'
        )

    def start(self, particular=''):
        process = subprocess.Popen(
            [sys.executable, '-c', CHILD, particular],
            cwd=str(self.folder),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        self.started.append(process)
        return process

    def end(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def build(self, particular=''):
        """Return exit status and what was said of a process that ends by itself."""
        process = self.start(particular)
        out, said = process.communicate(timeout=LIMIT_S)
        return process.returncode, out, said

    def builds(self):
        path = self.folder / 'built'
        return path.read_text().count('once') if path.exists() else 0

    def wait_for_build(self):
        deadline_s = time.monotonic() + LIMIT_S
        while not self.builds():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def files(self):
        names = (path.name for path in (self.folder / 'engines').iterdir())
        return sorted(name for name in names if name != 'building.lock')


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.end()


def assert_whole(place):
    """The next process finds the engine that is there."""
    before = place.builds()
    status, out, _ = place.build()
    assert (status, place.builds()) == (0, before)
    (name,) = place.files()
    assert out.strip().endswith(name)


def test_command_builds_once_and_tells_where(place):
    status, out, said = place.build()
    assert status == 0
    assert out.startswith('TensorRT 8.2.1.8 in fp16 on NVIDIA Tegra X1, ')
    assert said.splitlines()[0].startswith('cs3d: building an engine of stream.onnx by TensorRT')
    assert_whole(place)


def test_process_killed_while_it_builds_is_in_nobodys_way(place):
    process = place.start('trt.on_build = lambda: (build(), time.sleep(600))')
    place.wait_for_build()
    process.kill()
    process.communicate()
    assert place.files() == []
    assert place.build()[0] == 0
    assert_whole(place)


@pytest.mark.parametrize(
    'death',
    [
        # the kernel kills it in the middle of the file
        'resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)); '
        'signal.signal(signal.SIGXFSZ, signal.SIG_DFL)',
        'os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)',
        'os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)',
    ],
)
def test_process_killed_while_it_writes_leaves_no_engine(place, death):
    assert place.build(death)[0] < 0
    assert [name.rpartition('.')[2] for name in place.files()] == ['part']
    assert place.build()[0] == 0
    assert_whole(place)  # what was left is gone, too


def test_two_processes_build_one_engine(place):
    first = place.start(
        'trt.on_build = lambda: (build(), [time.sleep(0.01) for _ in range(3000) '
        'if not os.path.exists("go")])'
    )
    place.wait_for_build()
    second = place.start()
    assert 'another process builds an engine: waiting for it' in second.stderr.readline()
    (place.folder / 'go').write_text('')
    outs = [process.communicate(timeout=LIMIT_S)[0] for process in (first, second)]
    assert [first.returncode, second.returncode, place.builds()] == [0, 0, 1]
    assert outs[0] == outs[1]


def test_process_that_waits_goes_on_where_the_builder_is_killed(place):
    first = place.start('trt.on_build = lambda: (build(), time.sleep(600))')
    place.wait_for_build()
    second = place.start()
    assert 'waiting' in second.stderr.readline()
    first.kill()
    first.communicate()
    second.communicate(timeout=LIMIT_S)
    assert (second.returncode, place.builds()) == (0, 2)
    assert_whole(place)


def test_full_disk_is_told_with_the_cure_and_leaves_nothing(place):
    status, out, said = place.build('resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))')
    assert (status, out) == (1, '')
    assert 'File too large: make room or give another folder' in said.splitlines()[-1]
    assert place.files() == []


def test_ctrl_c_ends_a_build_at_once(place):
    process = place.start('trt.on_build = lambda: (build(), time.sleep(600))')
    place.wait_for_build()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert place.files() == []


def test_plan_is_read_as_it_was_written(tmp_path):
    path, plan = str(tmp_path / 'a.engine'), bytes(range(256)) * 9 + b'\n\n{}\n'
    write_plan(path, KEY, plan, {'build_s': 1.5})
    found, facts = read_plan(path, KEY)
    assert (found, facts['build_s']) == (plan, 1.5)


def test_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / 'a.engine'
    write_plan(str(path), KEY, b'a plan\nof some lines\n', {'build_s': 1.5})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(PlanError):
            read_plan(str(path), KEY)


def test_file_with_any_bit_flipped_is_refused(tmp_path):
    path = tmp_path / 'a.engine'
    write_plan(str(path), KEY, b'a plan', {})
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(bytes(flipped))
        with pytest.raises(PlanError):
            read_plan(str(path), KEY)


def test_folder_in_place_of_a_file_is_told(tmp_path):
    with pytest.raises(PlanError, match='cannot be read'):
        read_plan(str(tmp_path), KEY)
    with pytest.raises(EngineError, match='cannot be written'):
        write_plan(str(tmp_path), KEY, b'', {})


def test_names_of_devices_make_no_folders():
    path = plan_path(
        'engines', '/a/b.onnx', KEY._replace(device='../a/b c, compute capability 5.3')
    )
    assert os.path.dirname(path) == 'engines'


def test_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(fcntl, 'flock', refuse)
    with building(str(tmp_path), lambda text: None) as obstacle:
        assert obstacle == ''
