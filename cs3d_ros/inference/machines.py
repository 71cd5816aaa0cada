"""
Machines that networks may run on, and their published peaks: what a roofline is drawn from.

A peak is what the silicon could do at best, tensor cores included, in the precision that engines
use there. No operator reaches all of it.
"""

import platform
from typing import NamedTuple, Optional

# From one operator to the next on a GPU. An assumption: no figure is published for Jetsons, and
# what is reported of CUDA launches elsewhere lies around it.
CUDA_LAUNCH_S = 10e-6


class Machine(NamedTuple):
    """Peaks of a machine in one mode of power."""

    title: str
    flops: float  # per s; a multiply-add is two
    bytes_per_s: float  # of main memory
    value_bytes: int  # of a value in the precision that the peak is of: 2 fp16, 4 fp32
    launch_s: float  # added to every operator
    power_w: Optional[float] = None  # budget of the whole module in this mode


def _jetson(title, halves, gpu_hz, memory_bits, memory_hz, power_w) -> Machine:
    """
    Return a Jetson that computes in fp16.

    Parameters
    ----------
    halves : int
        Multiply-adds of halves in a clock, of all cores.
    gpu_hz, memory_hz : float
        Highest clocks of the mode; memory moves two words in a clock.
    """
    bytes_per_s = 2 * memory_hz * memory_bits / 8
    return Machine(title, 2 * halves * gpu_hz, bytes_per_s, 2, CUDA_LAUNCH_S, power_w)


# Clocks, cores, memory and power: data sheets of NVIDIA, Nano's modes from the Jetson Linux
# Developer Guide (r32, power modes of the Nano). Halves in a clock: 256 of the one multiprocessor
# of capability 5.3 (CUDA C++ Programming Guide, throughput of arithmetic instructions); 64 of a
# tensor core of Volta; 256 of one of Orin, a quarter of its sparse INT8 (technical brief of AGX
# Orin: 170e12 operations a second from 64 tensor cores at 1.3 GHz).
MACHINES = {
    'nano': _jetson('Jetson Nano, 10 W', 256, 921.6e6, 64, 1600e6, 10.0),
    'nano-5w': _jetson('Jetson Nano, 5 W', 256, 640e6, 64, 1600e6, 5.0),
    # DA-09366-001: 48 tensor cores, 1100 MHz, 128-bit LPDDR4x at 1600 MHz, 10 to 15 W
    'xavier-nx': _jetson('Jetson Xavier NX, 15 W', 48 * 64, 1100e6, 128, 1600e6, 15.0),
    # Data sheet of the Jetson Xavier series: 64 tensor cores, 1377 MHz, 256-bit at 2133 MHz
    'agx-xavier': _jetson('Jetson AGX Xavier, 30 W', 64 * 64, 1377e6, 256, 2133e6, 30.0),
    # DS-11105-001, 8 GB: 32 tensor cores, 625 MHz, 68 GB/s, up to 15 W
    'orin-nano': _jetson('Jetson Orin Nano, 15 W', 32 * 256, 625e6, 128, 2133e6, 15.0),
    # The same from JetPack 6.2 on: 1020 MHz, 102 GB/s, 25 W
    'orin-nano-super': _jetson('Jetson Orin Nano, 25 W', 32 * 256, 1020e6, 128, 3200e6, 25.0),
    # DS-10712-001, 16 GB: 32 tensor cores, 918 MHz, 102.4 GB/s, up to 25 W
    'orin-nx': _jetson('Jetson Orin NX, 25 W', 32 * 256, 918e6, 128, 3200e6, 25.0),
    # DS-10662-001, 64 GB: 64 tensor cores, 1.3 GHz, 256-bit LPDDR5 at 3200 MHz, up to 60 W
    'agx-orin': _jetson('Jetson AGX Orin, 60 W', 64 * 256, 1300e6, 256, 3200e6, 60.0),
}
HERE = 'here'  # this machine, whose peaks are measured


def machine_name() -> str:
    """Return what this machine calls itself: the board, or else the processor."""
    try:
        with open('/proc/device-tree/model') as file:  # Jetson, Raspberry Pi
            return file.read().rstrip('\0\n')
    except OSError:
        pass
    try:
        with open('/proc/cpuinfo') as file:
            names = [line.partition(':')[2] for line in file if line.startswith('model name')]
    except OSError:
        names = []
    return names[0].strip() if names else platform.processor() or platform.machine()
