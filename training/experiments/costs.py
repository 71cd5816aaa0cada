"""What networks cost on this machine: time, memory and joules, measured; energy, estimated."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from cs3d_ros.power import PowerMeter, find_sources
from training.experiments.session import THREADS, Session, event_like
from training.models.network import channels_last

ROUNDS = 30
WARM_UP = 3
ENERGY_S = 30.0  # of each measurement: counters are read 20 times a second
SAMPLE_S = 0.05
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
        Those of this machine by default: INA3221, RAPL, NVML.
    """

    def __init__(self, sources=None):
        self._sources = find_sources() if sources is None else sources
        self.names = [source.name for source in self._sources if source.rails]

    @property
    def problem(self) -> str | None:
        """Why nothing can be measured, None if something can."""
        if self.names:
            return None
        problems = [source.problem for source in self._sources if source.problem]
        return '; '.join([NOT_MEASURABLE] + (problems or ['there is no counter']))

    def joules(self, run, seconds: float = ENERGY_S) -> dict | None:
        """
        Return what a run costs beyond idling; None where nothing measures.

        Returns
        -------
        dict
            ``joules`` per run above idling, ``idle_w``, ``busy_w``, ``runs``, ``counters``.
        """
        if self.problem:
            return None
        idle_w, _ = self._watts(lambda: time.sleep(SAMPLE_S), seconds / 3)
        busy_w, each_s = self._watts(run, seconds)
        if idle_w is None or busy_w is None:
            return None
        return {
            'joules': (busy_w - idle_w) * each_s,
            'idle_w': idle_w,
            'busy_w': busy_w,
            'runs': int(seconds / each_s),
            'counters': self.names,
        }

    def _watts(self, run, seconds):
        """Return the mean power while a callable is repeated, and the seconds of each."""
        meter, ended = PowerMeter(self._sources), threading.Event()

        def sample():
            while not ended.wait(SAMPLE_S):
                meter.sample()

        meter.sample()  # from where counters count
        meter.take()
        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            run()
            count += 1
        took = time.perf_counter() - began
        ended.set()
        sampler.join()
        meter.sample()  # up to where runs were counted
        window = meter.take()
        if window.energy_j is None:
            return None, took / count
        return window.energy_j / (window.stop_s - window.start_s), took / count


def machine() -> dict:
    """Return what a reader must know of where times were measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        names = [
            line.partition(':')[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith('model name')
        ]
        model = names[0] if names else model
    return {
        'cpu': model,
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
