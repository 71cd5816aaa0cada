"""What networks cost on this machine: time, memory and joules, measured; energy, estimated."""

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cs3d_ros import power
from cs3d_ros.inference.machines import machine_name
from cs3d_ros.inference.timing import WARM_UP, event_like
from training.experiments.session import THREADS, Session
from training.models.network import channels_last

ROUNDS = 30
ENERGY_S = 30.0  # of each measurement: counters are read 20 times a second
NOT_MEASURABLE = 'not measurable here'


class Timing(NamedTuple):
    """Times of one network in a common run, ms."""

    median: float
    mean: float
    worst: float


def time_together(runs: dict, rounds: int = ROUNDS) -> dict:
    """
    Return the Timing of each callable by name.

    They take turns, so that what else the machine does meets all of them alike.
    """
    taken = {name: [] for name in runs}
    for k in range(WARM_UP + rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if k >= WARM_UP:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return {
        name: Timing(float(np.median(ms)), float(np.mean(ms)), float(np.max(ms)))
        for name, ms in taken.items()
    }


def torch_run(network):
    """Return a callable that runs a network once: a clip, or a stream's next frame."""
    # as it is trained: views of time and space are then free
    network = channels_last(network.eval())
    s = network.settings
    if hasattr(network, 'step'):
        frame = torch.from_numpy(event_like((1, 1, s.size, s.size)))
        state = network.initial_state(1)

        def run():
            nonlocal state
            with torch.inference_mode():
                state = network.step(frame, state)[1]

        return run
    clip = torch.from_numpy(event_like((1, 1, s.frames, s.size, s.size)))

    def run():
        with torch.inference_mode():
            network(clip)

    return run


def footprint(model: Path) -> dict:
    """Return the resident memory of a process that runs a model, MB, before and at its peak."""
    command = [sys.executable, '-m', 'training.experiments.footprint', str(model)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


class Counters:
    """
    The machine's own energy counters, where there are any that may be read.

    Parameters
    ----------
    sources : list of PowerSource, optional
        Those of this machine by default.
    """

    def __init__(self, sources=None):
        self._sources = power.find_sources() if sources is None else sources
        self.names = [source.name for source in self._sources if source.rails]

    @property
    def problem(self) -> str | None:
        """Why nothing can be measured, None if something can."""
        if self.names:
            return None
        return '{}: {}'.format(NOT_MEASURABLE, power.no_meter(self._sources))

    def joules(self, run, seconds: float = ENERGY_S) -> dict | None:
        """
        Return what a run costs beyond idling; None where nothing measures all the time.

        Returns
        -------
        dict
            ``joules`` per run above idling, ``idle_w``, ``busy_w``, ``runs``, ``counters``.
        """
        if self.problem:
            return None
        try:
            found = power.measure(run, seconds, meter=power.PowerMeter(self._sources))
        except power.PowerError:
            return None
        return {
            'joules': found.joules,
            'idle_w': found.idle_w,
            'busy_w': found.busy_w,
            'runs': found.runs,
            'counters': list(found.basis),
        }


def machine() -> dict:
    """Return what a reader must know of where times were measured."""
    return {
        'cpu': machine_name(),
        'cores': os.cpu_count(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        **{name: version(name) for name in ('torch', 'onnxruntime', 'numpy')},
        'threads': THREADS,
    }


def measure(models: dict, networks: dict, rounds: int = ROUNDS, energy_s: float = ENERGY_S):
    """
    Return the measured cost of each network by name.

    Parameters
    ----------
    models : dict
        ONNX models by name, then by precision, ``onnx`` (32-bit floats) and ``int8``; a network
        may lack them.
    networks : dict
        Networks in torch by name.
    rounds : int
        Turns in which each is timed.
    energy_s : float
        Time of each measurement of energy, where there are counters.

    Returns
    -------
    dict
        By name: ``onnx_ms``, ``int8_ms`` and ``torch_ms`` (Timing as dicts), ``memory_mb`` and
        ``energy`` of the model in floats; None where there is no model, no counter.
    """
    torch.set_num_threads(THREADS)
    counters = Counters()
    sessions = {
        (kind, name): Session(path) for name, own in models.items() for kind, path in own.items()
    }
    runs = {key: session.run for key, session in sessions.items()}
    runs.update({('torch', name): torch_run(network) for name, network in networks.items()})
    timings = time_together(runs, rounds)
    rows = {}
    for name in dict.fromkeys([*models, *networks]):
        session = sessions.get(('onnx', name))
        rows[name] = {
            kind + '_ms': timings[kind, name]._asdict() if (kind, name) in timings else None
            for kind in ('onnx', 'int8', 'torch')
        }
        rows[name].update(
            memory_mb=footprint(models[name]['onnx']) if session else None,
            energy=counters.joules(session.run, energy_s) if session else None,
            energy_problem=counters.problem,
        )
    return rows
