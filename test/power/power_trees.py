"""Trees of sysfs files as machines have them, in a folder of the test; a meter without any."""

import builtins

from cs3d_ros.power import PowerSource

JETPACK4 = 'sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0'
JETPACK6 = 'sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3'


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class BusyMeter(PowerSource):
    """Draws 10 W, and 30 W while a run is under way."""

    name = 'fake'

    def __init__(self):
        super().__init__(('board',))
        self.is_busy = False

    def read(self, now_s):
        return {'board': 30.0 if self.is_busy else 10.0}


def write(folder, **files):
    """Write files of one line each, making the folder; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text('{}\n'.format(text))
    return folder


def nano_tree(root):
    """Jetson Nano, JetPack 4: milliwatts by iio."""
    write(root / 'sys/firmware/devicetree/base', model='NVIDIA Jetson Nano Developer Kit\0')
    return write(
        root / JETPACK4,
        rail_name_0='POM_5V_IN',
        in_power0_input=4200,
        in_voltage0_input=5000,
        in_current0_input=840,
        rail_name_1='POM_5V_GPU',
        in_power1_input=300,
        rail_name_2='POM_5V_CPU',
        in_power2_input=1500,
    )


def orin_nano_tree(root):
    """Orin Nano, JetPack 6: one chip by hwmon, the input rail among its labels."""
    return write(
        root / JETPACK6,
        name='ina3221',
        in1_label='VDD_IN',
        in1_input=5000,
        curr1_input=1000,
        in2_label='VDD_CPU_GPU_CV',
        in2_input=5000,
        curr2_input=300,
        in3_label='VDD_SOC',
        in3_input=5000,
        curr3_input=200,
        curr4_input=1500,
        in7_label='sum of shunt voltages',
        in7_input=7,
    )


def agx_tree(root):
    """AGX Orin, JetPack 6: two chips by hwmon, one channel not connected."""
    drivers = root / 'sys/bus/i2c/drivers/ina3221'
    write(
        drivers / '1-0040/hwmon/hwmon3',
        in1_label='VDD_GPU_SOC',
        in1_input=20000,
        curr1_input=300,
        in2_label='NC',
        in2_input=5000,
        curr2_input=9,
        in7_label='sum of shunt voltages',
        in7_input=7,
        curr7_input=7,
    )
    write(
        drivers / '1-0041/hwmon/hwmon4', in1_label='VIN_SYS_5V0', in1_input=5000, curr1_input=800
    )


def rapl_zone(root, name, label, energy_uj, range_uj=262143328850):
    """One zone of the energy counters; its range is that of 32 bits in steps of 61 uJ."""
    zone = root / 'sys/class/powercap' / name
    return write(zone, name=label, energy_uj=energy_uj, max_energy_range_uj=range_uj)


def supply(root, name, **files):
    """A battery or an input."""
    return write(root / 'sys/class/power_supply' / name, **files)


def chip(root, number, name, **files):
    """One hwmon."""
    return write(root / 'sys/class/hwmon/hwmon{}'.format(number), name=name, **files)


def zone(root, number, kind, temp):
    """One thermal zone, millidegrees."""
    return write(root / 'sys/class/thermal/thermal_zone{}'.format(number), type=kind, temp=temp)


def cooler(root, number, kind, state):
    """One cooling device."""
    return write(
        root / 'sys/class/thermal/cooling_device{}'.format(number), type=kind, cur_state=state
    )


def forbid(monkeypatch, *endings):
    """Refuse to open files as for another user; a test may run as root, whom chmod stops not."""
    real_open = builtins.open

    def refuse(path, *args, **kwargs):
        if str(path).endswith(endings):
            raise PermissionError(13, 'Permission denied', str(path))
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr('builtins.open', refuse)
