#!/usr/bin/env python3
"""
Ask the package index whether what the images of docker/ install is there for them as wheels.

    check_images.py [IMAGE ...]     all of them by default

A wheel needs no compiler and runs where its tags say; what has none for an image's Python and
processor is named with what compiles it. Needs the network and pip, downloads some 400 MB that it
does not keep, and builds nothing: whether an image builds, only docker can tell. The exit status
is 1 where something is neither a wheel nor known to compile.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile

from machine import clean_environment
from packaging.markers import Marker
from packaging.requirements import Requirement
from pins import ROOT, pins, project
from stamped import say

# Image: its Dockerfile, Python, processor, and minor version of glibc 2.
IMAGES = {
    'jetpack4': ('jetpack4', '3.6.9', 'aarch64', 27),
    'jetpack6': ('jetpack6', '3.10.12', 'aarch64', 35),
    'humble': ('desktop', '3.10.12', 'x86_64', 35),
    'jazzy': ('desktop', '3.12.3', 'x86_64', 39),
}
# What has no wheel for an image, and what makes one of its source there.
COMPILED = {('jetpack4', 'lz4'): 'gcc, and the headers of Python, which the image has'}
PRINTS = re.compile(r'bootstrap\.py print ([\w -]+?)(?: \| grep -v \^(\w+))? >')


class NoAnswerError(Exception):
    """An index that does not answer."""


def installed(dockerfile):
    """Return the requirements that a Dockerfile hands to pip."""
    with open(os.path.join(ROOT, 'docker', dockerfile + '.Dockerfile'), encoding='utf-8') as file:
        text = file.read()
    return [
        row
        for sections, left_out in PRINTS.findall(text)
        for row in pins(sections.split())
        if project(row) != left_out
    ]


def environment_of(image):
    """Return what markers are judged by in an image."""
    _, python, machine, _ = IMAGES[image]
    return {
        'python_version': '.'.join(python.split('.')[:2]),
        'python_full_version': python,
        'platform_machine': machine,
        'platform_system': 'Linux',
        'sys_platform': 'linux',
        'os_name': 'posix',
        'implementation_name': 'cpython',
        'platform_python_implementation': 'CPython',
        'extra': '',
    }


def applies(marker, image):
    """Return whether a marker, if any, holds in an image."""
    return marker is None or marker.evaluate(environment_of(image))


def requirements_of(path):
    """Return what a wheel requires, by its own metadata."""
    with zipfile.ZipFile(path) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
        head = wheel.read(name).decode('utf-8').partition('\n\n')[0]
    return re.findall(r'^Requires-Dist: (.*)$', head, re.MULTILINE)


def ask(requirement, image):
    """
    Return (wheel, what it requires) for a requirement in an image; None where there is none.

    Raises
    ------
    NoAnswerError
        If the index does not answer.

    """
    _, python, machine, glibc = IMAGES[image]
    platforms = ['manylinux2014_' + machine] + [
        'manylinux_2_{}_{}'.format(minor, machine) for minor in range(17, glibc + 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps']
        command += ['--only-binary', ':all:', '--dest', folder]
        command += ['--python-version', python, '--implementation', 'cp']
        for platform in platforms:
            command += ['--platform', platform]
        done = subprocess.run(
            command + [requirement],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            env=clean_environment(),
        )
        if done.returncode == 0:
            (wheel,) = os.listdir(folder)
            return wheel, requirements_of(os.path.join(folder, wheel))
    if 'No matching distribution found' in done.stdout:
        return None
    raise NoAnswerError(
        'pip cannot ask for {}: {}'.format(requirement, (done.stdout.splitlines() or ['?'])[-1])
    )


def check(image, index=ask):
    """Return rows (requirement, what there is, whether that will do) of an image."""
    rows, seen = [], set()
    wanted = []
    for row in installed(IMAGES[image][0]):
        requirement, _, marker = row.partition(' ; ')
        if applies(Marker(marker) if marker else None, image):
            wanted.append(requirement)
    while wanted:
        requirement = wanted.pop(0)
        name = project(requirement)
        if name in seen:
            continue
        seen.add(name)
        found = index(requirement, image)
        if found is None:
            compiler = COMPILED.get((image, name))
            rows.append((requirement, 'source: ' + (compiler or 'NOTHING KNOWN'), bool(compiler)))
            continue
        wheel, required = found
        rows.append((requirement, wheel, True))
        for each in map(Requirement, required):
            if applies(each.marker, image):
                wanted.append(each.name.lower() + str(each.specifier))
    return rows


def main(arguments):
    """Print a table for each image; return the exit status."""
    unknown = set(arguments) - set(IMAGES)
    if unknown:
        say('there is no image {}, but {}'.format(', '.join(sorted(unknown)), ', '.join(IMAGES)))
        return 2
    is_good = True
    for image in arguments or IMAGES:
        dockerfile, python, machine, glibc = IMAGES[image]
        title = '{}: docker/{}.Dockerfile, Python {}, {}, glibc 2.{}'
        print(title.format(image, dockerfile, python, machine, glibc))
        rows = check(image)
        for requirement, found, will_do in rows:
            print('  {:<36}{}'.format(requirement, found))
            is_good &= will_do
        sources = [project(row) for row, found, _ in rows if found.startswith('source')]
        print(
            '  {} packages, {} wheels; from source: {}\n'.format(
                len(rows), len(rows) - len(sources), ', '.join(sources) or 'none'
            )
        )
    return 0 if is_good else 1


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except NoAnswerError as error:
        sys.exit('[cs3d] ' + str(error))
    except KeyboardInterrupt:
        sys.exit('[cs3d] interrupted')
