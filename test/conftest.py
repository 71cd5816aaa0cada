"""What all tests share: the data beside the repository, and a ROS domain of their own."""

import os
import pathlib
import random
import signal
import socket
import sys
import tempfile

import pytest
from hypothesis import settings

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / 'shared' / 'data'

# The same examples on every run and machine; a slow machine is no failure.
settings.register_profile('house', deadline=None, derandomize=True, database=None)
settings.load_profile('house')


def reserve_domain():
    """
    Return (ROS domain, socket that holds it while it is open).

    Two test runs on one machine must not hear each other: whoever binds the port owns the domain.
    Domains above 101 would reach into the ports that Linux hands out by itself.
    """
    domains = list(range(1, 102))
    random.Random(os.getpid()).shuffle(domains)
    for domain in domains:
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.bind(('127.0.0.1', 22119 + domain))
            return domain, holder
        except OSError:
            holder.close()
    raise RuntimeError('all ROS domains are taken by other test runs on this machine')


def isolate():
    """Give the nodes of this run, and of its children, a domain and logs of their own."""
    domain, holder = reserve_domain()
    os.environ['ROS_DOMAIN_ID'] = str(domain)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOG_DIR'] = tempfile.mkdtemp(prefix='cs3d-ros-log-')
    os.environ.setdefault('MPLBACKEND', 'Agg')
    sys.modules['tensorrt'] = None  # no test takes the GPU that happens to be there
    # shells start what runs in their background deaf to Ctrl-C, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return holder


# At import, since a test module may import rclpy as soon as it is collected.
HOLDER = isolate()


@pytest.fixture(scope='session')
def shared_data():
    """Return the folder of recordings, videos and faces that lies beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip('needs ../shared/data: real recordings, videos and faces, not in git')
    return SHARED_DATA
