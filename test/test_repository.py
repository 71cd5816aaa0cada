import ast
import configparser
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from packaging.markers import Marker

import cs3d_ros
from cs3d_ros.events.recordings import SUFFIXES

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'scripts'))

import house_rules  # noqa: E402
import pins  # noqa: E402

ROWS = pins.read_rows()
PYTHONS = ['3.6', '3.8', '3.9', '3.10', '3.11', '3.12', '3.13']


@pytest.mark.parametrize('section, requirement, reason', ROWS, ids=[row[1] for row in ROWS])
def test_every_pin_is_exact_and_has_its_reason(section, requirement, reason):
    assert section
    assert re.match(r'[\w.-]+==[\w.]+( ; python_version .*)?$', requirement)
    assert len(reason) > 5


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('section', ['run', 'build', 'test'])
def test_every_python_gets_one_version_of_each_project(section, python):
    chosen = []
    for requirement in pins.pins([section]):
        _, _, marker = requirement.partition(';')
        if not marker or Marker(marker.strip()).evaluate({'python_version': python}):
            chosen.append(pins.project(requirement))

    assert sorted(chosen) == sorted({pins.project(row) for row in pins.pins([section])})


def test_numpy1_rows_take_the_place_of_their_like():
    rows = pins.pins(['run', 'run-numpy1'])

    assert 'numpy==1.26.4' in rows
    assert [row for row in rows if pins.project(row) == 'numpy'] == ['numpy==1.26.4']
    assert {pins.project(row) for row in rows} == {pins.project(row) for row in pins.pins(['run'])}


def test_unknown_section_is_refused_by_name():
    with pytest.raises(ValueError, match='no section .walk.'):
        pins.pins(['walk'])


def test_setup_requires_just_what_is_pinned_to_run():
    setup = configparser.ConfigParser()
    setup.read(str(ROOT / 'setup.cfg'))
    required = setup['options']['install_requires'].strip().split('\n')

    assert {pins.project(row) for row in required} == {
        pins.project(row) for row in pins.pins(['run'])
    }


def test_version_is_the_same_everywhere():
    package = ElementTree.parse(str(ROOT / 'package.xml')).getroot()

    assert package.findtext('version') == cs3d_ros.__version__


def test_package_depends_on_every_interface():
    package = ElementTree.parse(str(ROOT / 'package.xml')).getroot()
    depended = {element.text for element in package.iter('exec_depend')}

    assert {path.parent.name for path in ROOT.glob('interfaces/*/package.xml')} <= depended


def test_package_depends_on_every_ros_package_that_nodes_and_launch_file_import():
    package = ElementTree.parse(str(ROOT / 'package.xml')).getroot()
    depended = {element.text for element in package.iter('exec_depend')}
    imported = set()
    for path in [*ROOT.glob('cs3d_ros/nodes/*.py'), *ROOT.glob('launch/*.py')]:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                imported.update(name.name.split('.')[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split('.')[0])

    assert {name for name in imported if house_rules.ROS.match(name)} <= depended


@pytest.mark.parametrize('path', sorted(ROOT.glob('interfaces/*/CMakeLists.txt')), ids=str)
def test_every_message_of_an_interface_is_built(path):
    listed = set(re.findall(r'"(msg/\w+\.msg)"', path.read_text()))

    assert listed == {'msg/' + file.name for file in path.parent.glob('msg/*.msg')}


def test_every_node_has_its_executable():
    executables = sorted(path.name for path in (ROOT / 'scripts' / 'nodes').iterdir())

    assert executables == ['inference', 'player', 'power', 'preprocessing', 'webcam']
    assert all(os.access(str(ROOT / 'scripts' / 'nodes' / name), os.X_OK) for name in executables)


def test_make_alone_explains_every_target():
    makefile = (ROOT / 'Makefile').read_text()
    targets = re.search(r'\.PHONY: (.*)', makefile).group(1).split()

    said = subprocess.check_output(['make', '-C', str(ROOT)], universal_newlines=True)

    assert [name for name in targets if name != 'help' and 'make ' + name not in said] == []


def test_make_alone_names_every_kind_of_recording():
    said = subprocess.check_output(['make', '-C', str(ROOT)], universal_newlines=True)

    assert [suffix for suffix in SUFFIXES if suffix.replace('.zstd', '') not in said] == []


def test_ci_calls_lint_and_test_and_nothing_else():
    script = (ROOT / '.ci' / 'run').read_text()
    calls = [line for line in script.split('\n') if 'make' in line]

    assert calls == ['exec make lint test </dev/null']
    assert os.access(str(ROOT / '.ci' / 'run'), os.X_OK)
