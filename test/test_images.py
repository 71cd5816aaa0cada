"""What can be known of docker/ without docker: paths, sections, shell, and what pip finds."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'scripts'))

import check_images  # noqa: E402
import pins  # noqa: E402

DOCKERFILES = sorted((ROOT / 'docker').glob('*.Dockerfile'))
IDS = [path.stem for path in DOCKERFILES]


def instructions(path):
    """Return (word, rest) of every instruction of a Dockerfile, its lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith('#')]
    text = '\n'.join(lines).replace('\\\n', ' ')
    return [tuple(line.split(' ', 1)) for line in text.splitlines() if line]


def all_of(path, word):
    return [rest for each, rest in instructions(path) if each == word]


@pytest.mark.parametrize('path', DOCKERFILES, ids=IDS)
def test_dockerfile_uses_instructions_that_docker_knows(path):
    known = {'ARG', 'FROM', 'WORKDIR', 'COPY', 'RUN', 'ENV', 'ENTRYPOINT', 'CMD'}
    assert {word for word, _ in instructions(path)} <= known
    assert len(all_of(path, 'FROM')) == 1


@pytest.mark.parametrize('path', DOCKERFILES, ids=IDS)
def test_what_is_copied_is_there(path):
    ignored = (ROOT / '.dockerignore').read_text().split()
    copied = [rest.split()[:-1] for rest in all_of(path, 'COPY')]
    sources = [source for part in copied for source in part]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert not set(sources) & set(ignored)


@pytest.mark.parametrize('path', DOCKERFILES, ids=IDS)
def test_what_runs_is_shell(path):
    for script in all_of(path, 'RUN'):
        subprocess.run(['sh', '-n'], input=script.encode(), check=True)


@pytest.mark.parametrize('path', DOCKERFILES, ids=IDS)
def test_image_starts_the_graph_in_its_own_workspace(path):
    (entry,), (command,) = all_of(path, 'ENTRYPOINT'), all_of(path, 'CMD')
    entry, command = json.loads(entry), json.loads(command)
    subprocess.run(['bash', '-n', '-c', entry[2]], check=True)
    assert '. /ws/install/setup.bash' in entry[2]
    assert (ROOT / 'launch' / command[-1]).exists()
    builds = [run for run in all_of(path, 'RUN') if 'colcon build' in run]
    assert all('cd /ws ' in run and 'src/cs3d_ros/interfaces' in run for run in builds)
    assert builds


@pytest.mark.parametrize('path', DOCKERFILES, ids=IDS)
def test_no_version_is_typed_again(path):
    for script in all_of(path, 'RUN'):
        assert '==' not in script
    printed = check_images.PRINTS.findall(path.read_text())
    assert printed
    for sections, left_out in printed:
        assert not left_out or left_out in map(pins.project, pins.pins(sections.split()))


def test_every_dockerfile_is_checked():
    assert {dockerfile for dockerfile, _, _, _ in check_images.IMAGES.values()} == set(IDS)


def test_every_image_gets_what_the_package_requires_to_run():
    run = set(map(pins.project, pins.pins(['run'])))
    for dockerfile, _, _, _ in check_images.IMAGES.values():
        found = set(map(pins.project, check_images.installed(dockerfile)))
        # timelines alone need it, and it has no wheel for Python 3.6 on aarch64
        missing = {'matplotlib'} if dockerfile == 'jetpack4' else set()
        assert run - found == missing


def test_docs_name_the_images_that_are_built_upon():
    text = (ROOT / 'docs' / 'jetson.md').read_text()
    for path in DOCKERFILES:
        assert 'docker/' + path.name in text
        (base,) = all_of(path, 'FROM')
        assert '$' in base or base in text


# -- what the check makes of what an index answers


class Index:
    """Wheels by project; whatever is not among them has none."""

    def __init__(self, **wheels):
        self.wheels, self.asked = wheels, []

    def __call__(self, requirement, image):
        self.asked.append(requirement)
        return self.wheels.get(pins.project(requirement).replace('-', '_'))


EVERYTHING = {
    pins.project(row).replace('-', '_'): ('a.whl', [])
    for row in pins.pins(['pip', 'run', 'build'])
}


def test_only_what_the_python_of_the_image_takes_is_asked_for():
    index = Index(**EVERYTHING)
    rows = check_images.check('jetpack4', index)
    assert 'numpy==1.19.5' in index.asked
    assert not [each for each in index.asked if each.startswith('numpy==2')]
    assert all(will_do for _, _, will_do in rows)


def test_requirements_of_wheels_are_followed_by_their_markers():
    required = [
        'protobuf>=3',
        'dataclasses; python_version < "3.7"',
        'importlib-metadata; python_version >= "3.8"',
        'pytest; extra == "test"',
        'numpy>=1.16',
    ]
    wheels = dict(EVERYTHING, onnxruntime=('b.whl', required))
    wheels.update(protobuf=('c.whl', []), dataclasses=('d.whl', []))
    index = Index(**wheels)
    rows = check_images.check('jetpack4', index)
    assert all(will_do for _, _, will_do in rows)
    later = [each for each in index.asked if '==' not in each]
    assert later == ['protobuf>=3', 'dataclasses']


def test_source_that_is_known_to_compile_is_named_with_the_compiler():
    wheels = dict(EVERYTHING)
    del wheels['lz4']
    rows = check_images.check('jetpack4', Index(**wheels))
    (row,) = [row for row in rows if row[0].startswith('lz4')]
    assert 'source: gcc' in row[1] and row[2]


@pytest.mark.parametrize('image, missing', [('jetpack4', 'onnxruntime'), ('humble', 'lz4')])
def test_what_nobody_knows_how_to_get_fails_the_check(monkeypatch, capsys, image, missing):
    wheels = dict(EVERYTHING, h5py=('a.whl', []), hdf5plugin=('a.whl', []))
    wheels.update(matplotlib=('a.whl', []))
    check = check_images.check
    monkeypatch.setattr(check_images, 'check', lambda name: check(name, Index(**wheels)))
    assert check_images.main([image]) == 0
    del wheels[missing]
    assert check_images.main([image]) == 1
    assert re.search(missing + '.*source: NOTHING KNOWN', capsys.readouterr().out)


def test_unknown_image_is_named(capsys):
    assert check_images.main(['toaster']) == 2
    assert 'toaster' in capsys.readouterr().out


@pytest.mark.parametrize(
    'said, status, found',
    [
        ('ERROR: No matching distribution found for lz4==3.1.10', 1, None),
        ('ERROR: HTTPSConnectionPool: no route', 1, 'no route'),
    ],
)
def test_index_that_does_not_answer_is_no_missing_wheel(monkeypatch, said, status, found):
    done = subprocess.CompletedProcess([], status, said)
    monkeypatch.setattr(check_images.subprocess, 'run', lambda *_, **__: done)
    if found is None:
        assert check_images.ask('lz4==3.1.10', 'jetpack4') is None
    else:
        with pytest.raises(check_images.NoAnswerError, match=found):
            check_images.ask('lz4==3.1.10', 'jetpack4')
