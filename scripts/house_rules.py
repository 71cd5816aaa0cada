"""
Rules of the house that no linter knows: import walls, file sizes. Standard library, any Python.

The parts of the package import no ROS and no training library; arrows between them run one way;
a module whose name begins with an underscore stays inside its folder; no file in git is large.
"""

import ast
import os
import re
import subprocess
import sys

from pins import ROOT

LARGEST_FILE = 12 * 1024 * 1024  # bytes; larger data belongs to a script that makes it

# Each part and what it may import of the package besides itself and `from cs3d_ros import ...`.
ARROWS = {
    '__init__': set(),
    'events': set(),
    'runtime': set(),
    'face': {'events', 'runtime'},
    'inference': {'events', 'files', 'runtime'},
    'simulator': {'events'},
    'power': {'files'},
    'models': set(),
    'pipeline': {'events', 'face', 'inference'},
    'files': set(),
    'draw': {'events', 'face', 'files', 'inference', 'pipeline'},
    'render': {'events', 'draw', 'files'},
}
ARROWS['cli'] = set(ARROWS) - {'__init__'}
ARROWS['nodes'] = set(ARROWS) - {'__init__'}
ARROWS['training'] = set(ARROWS) - {'__init__', 'nodes', 'cli', 'training'}

# `cs3d up` and `cs3d demo` start nodes; everything else of the command runs without ROS.
LAZY = {'cli': {'nodes'}}

ROS = re.compile(
    r'(rclpy|launch\w*|ament_\w+|rosidl\w*|rpyutils|lifecycle|\w+_msgs|\w+_interfaces|std_srvs'
    r'|rosbag2\w*|cv_bridge|domain_coordinator)$'
)
# Of the nodes' folder, what is tested, or read by the command, where there is no ROS.
WITHOUT_ROS = {
    'cs3d_ros/nodes/{}.py'.format(name)
    for name in ('clocks', 'event_stream', 'parameter', 'parameters', 'verdicts')
}
TRAINING = {'torch', 'torchvision', 'lightning', 'pytorch_lightning', 'numba', 'dask', 'onnx'}
TRAINING |= {'scipy', 'pandas', 'sklearn', 'snntorch', 'training'}


def find_violations(root=ROOT):
    """Return a line for each broken import rule below `root`."""
    found = []
    for folder in ('cs3d_ros', 'training', 'launch'):
        for directory, _, names in os.walk(os.path.join(root, folder)):
            for name in sorted(names):
                if name.endswith(('.py', '.pyx')):
                    path = os.path.relpath(os.path.join(directory, name), root)
                    found += check_file(root, path.replace(os.sep, '/'))
    return found


def check_file(root, path):
    """Return a line for each broken import rule in one file."""
    with open(os.path.join(root, path), encoding='utf-8') as file:
        source = file.read()
    if path.endswith('.pyx'):
        imports = [(line, name, False) for line, name in _cython_imports(source)]
    else:
        imports = list(_python_imports(ast.parse(source), path))
    return [
        '{}:{}: {}'.format(path, line, complaint)
        for line, name, lazy in imports
        for complaint in [complain(path, name, lazy)]
        if complaint
    ]


def complain(path, name, lazy=False):
    """
    Return why a file must not import a module, or None.

    Parameters
    ----------
    path : str
        Of the file, from the repository's root, with slashes.
    name : str
        The module with its dots, and what is imported from it where that may be a module.
    lazy : bool
        Whether the import stands inside a function.

    """
    part = part_of(path)
    top = name.split('.')[0]
    ros_allowed = part in ('nodes', 'launch') and path not in WITHOUT_ROS
    if ROS.match(top) and not ros_allowed:
        return 'imports {}, but ROS belongs to nodes/ and launch/'.format(top)
    if top in TRAINING and path.startswith('cs3d_ros/'):
        return 'imports {}, but that belongs to training/'.format(top)
    if top != 'cs3d_ros' or part == 'launch':
        return None
    target = name.split('.')[1:]
    if not target or target[0] not in ARROWS:
        return None  # the package itself: version, root error
    if target[0] == part:
        return None
    if any(re.match(r'_[^_]', word) for word in target):
        return 'imports {}, which is private to its folder'.format(name)
    if target[0] in ARROWS.get(part, ()):
        return None
    if lazy and target[0] in LAZY.get(part, ()):
        return None
    return 'imports {}, but no arrow runs from {} to {}'.format(name, part, target[0])


def part_of(path):
    """Return the part that a file belongs to: 'events', 'pipeline', 'training', 'launch' ..."""
    words = path.split('/')
    return os.path.splitext(words[1])[0] if words[0] == 'cs3d_ros' else words[0]


def _python_imports(tree, path):
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside.update(id(child) for child in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:  # relative: seen from the folder of the file
                package = path.split('/')[: -node.level]
                base = '.'.join(package + ([base] if base else []))
            names = ['{}.{}'.format(base, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            yield node.lineno, name, id(node) in inside


def _cython_imports(source):
    for number, line in enumerate(source.split('\n'), 1):
        found = re.match(r'\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))', line)
        if found:
            yield number, found.group(1) or found.group(2)


def find_large_files(root=ROOT):
    """Return a line for each file in git that is larger than the house allows."""
    listed = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    paths = [path for path in listed.stdout.decode().split('\0') if path]
    sizes = [
        (path, os.path.getsize(os.path.join(root, path)))
        for path in paths
        if os.path.isfile(os.path.join(root, path))
    ]
    return [
        '{}: {:.1f} MB, the largest allowed is {:.0f} MB'.format(
            path, size / 2**20, LARGEST_FILE / 2**20
        )
        for path, size in sizes
        if size > LARGEST_FILE
    ]


if __name__ == '__main__':
    violations = find_violations() + find_large_files()
    print('\n'.join(violations) if violations else 'All rules of the house are kept.')
    sys.exit(1 if violations else 0)
