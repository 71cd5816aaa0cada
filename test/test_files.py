import io
import os
import threading

import pytest

from cs3d_ros import Cs3dError
from cs3d_ros.files import whole_file


def write(path, text='new', mode='w'):
    with whole_file(str(path), mode) as file:
        file.write(text)


@pytest.mark.parametrize('mode, text', [('w', 'new'), ('wb', b'new')])
def test_file_is_there_as_a_whole(tmp_path, mode, text):
    write(tmp_path / 'a', text, mode)
    assert (tmp_path / 'a').read_text() == 'new'
    assert os.listdir(str(tmp_path)) == ['a']


def test_broken_off_file_leaves_the_older_one(tmp_path):
    (tmp_path / 'a').write_text('old')
    with pytest.raises(RuntimeError), whole_file(str(tmp_path / 'a')) as file:
        file.write('new')
        raise RuntimeError('the source broke')
    assert (tmp_path / 'a').read_text() == 'old'
    assert os.listdir(str(tmp_path)) == ['a']


@pytest.mark.parametrize('old', ['old', None])
def test_link_stays_and_leads_to_what_was_written(tmp_path, old):
    (tmp_path / 'elsewhere').mkdir()
    target, link = tmp_path / 'elsewhere' / 'b', tmp_path / 'a'
    if old:
        target.write_text(old)
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text() == 'new'


def test_pipe_is_written_to_and_stays(tmp_path):
    path, got = str(tmp_path / 'a'), []
    os.mkfifo(path)

    def read():
        with open(path) as pipe:
            got.append(pipe.read())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    write(path)
    reader.join(timeout=60)
    assert got == ['new']
    assert os.listdir(str(tmp_path)) == ['a']


def test_pipe_of_the_shell_is_written_to():
    end, pipe = os.pipe()
    write('/dev/fd/{}'.format(pipe))
    os.close(pipe)
    assert io.open(end).read() == 'new'


def test_device_stays(tmp_path):
    (tmp_path / 'null').symlink_to('/dev/null')
    write(tmp_path / 'null')
    assert (tmp_path / 'null').is_symlink()


@pytest.mark.parametrize('size', [1, 100_000])
def test_full_disk_is_blamed_on_the_file(tmp_path, size):
    (tmp_path / 'full').symlink_to('/dev/full')
    with pytest.raises(Cs3dError, match='full cannot be written: No space left on device'):
        write(tmp_path / 'full', size * 'x')


def test_folder_is_no_file_to_write(tmp_path):
    with pytest.raises(Cs3dError, match='cannot be written: Is a directory'):
        write(tmp_path)


def test_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(Cs3dError, match='nowhere/a cannot be written: No such file'):
        write(tmp_path / 'nowhere' / 'a')


def test_errors_of_something_else_are_not_blamed_on_the_file(tmp_path):
    with pytest.raises(BrokenPipeError), whole_file(str(tmp_path / 'a')) as file:
        file.write('new')
        raise BrokenPipeError('of what is printed')
    assert os.listdir(str(tmp_path)) == []
