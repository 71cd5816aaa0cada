"""``cs3d power`` over fabricated trees."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from power_trees import forbid, nano_tree, rapl_zone, supply

from cs3d_ros.cli import main
from cs3d_ros.power import load_idle

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Return the root of a Nano's tree; the idle power is kept in a folder of the test."""
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
    nano_tree(tmp_path / 'nano')
    return str(tmp_path / 'nano')


def writer(path, status=0):
    """Return a command that leaves a file and a status."""
    code = 'import sys; open({!r}, "w").close(); sys.exit({})'.format(str(path), status)
    return [sys.executable, '-c', code]


def test_watts_are_shown_for_every_rail_and_the_total(tree, capsys):
    assert main(['power', '--root', tree, '--seconds', '0.3']) == 0
    head, row, end = capsys.readouterr().out.splitlines()
    assert head.split() == ['s', 'total'] + [
        'ina3221/' + rail for rail in ('POM_5V_CPU', 'POM_5V_GPU', 'POM_5V_IN')
    ]
    assert row.split()[1::2] == ['4.200', '1.500', '0.300', '4.200']
    seconds, _, joules, _, watts = end.replace(',', '').split()[:5]
    assert watts == '4.200'
    assert float(joules) == pytest.approx(4.2 * float(seconds), rel=0.3)


def test_command_runs_and_its_status_is_passed_on(tree, tmp_path, capfd):
    command = writer(tmp_path / 'ran', 7)
    assert main(['power', '--root', tree, '--'] + command) == 7
    assert (tmp_path / 'ran').exists()
    out, err = capfd.readouterr()
    assert out == ''
    assert '4.200 W on average by ina3221/POM_5V_IN' in err
    assert 'above idle: not known, no idle power is stored' in err


def test_command_of_no_time_has_joules(tree, capfd):
    assert main(['power', '--root', tree, '--', 'true']) == 0
    assert '4.200 W on average' in capfd.readouterr().err


def test_options_behind_two_dashes_are_of_the_command(tree, capfd):
    code = 'import sys; print(sys.argv[1:])'
    words = ['--seconds', '3', '--traceback', '--', '-x']
    assert main(['power', '--root', tree, '--', sys.executable, '-c', code] + words) == 0
    assert capfd.readouterr().out.strip() == str(words)


def test_command_that_a_signal_ends_has_the_status_of_shells(tree):
    code = 'import os; os.kill(os.getpid(), 9)'
    assert main(['power', '--root', tree, '--', sys.executable, '-c', code]) == 137


def test_stored_idle_power_is_taken_off_the_joules_of_a_command(tree, capfd):
    assert main(['power', '--root', tree, '--idle', '0.3']) == 0
    out, _ = capfd.readouterr()
    assert '4.200 W by ina3221/POM_5V_IN' in out
    assert 'machine NVIDIA Jetson Nano Developer Kit' in out
    path = os.path.join(os.environ['XDG_STATE_HOME'], 'cs3d', 'idle.json')
    assert load_idle(path).watts == pytest.approx(4.2)
    # twice the power: half of the joules are above idle
    with open(os.path.join(tree, 'sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0')
              + '/in_power0_input', 'w') as file:  # fmt: skip
        file.write('8400\n')
    sleep = [sys.executable, '-c', 'import time; time.sleep(0.3)']
    assert main(['power', '--root', tree, '--'] + sleep) == 0
    total, above = capfd.readouterr().err.splitlines()
    total_j = float(total.split(' J')[0].split()[-1])
    above_j = float(above.split('above idle: ')[1].split()[0])
    assert above_j == pytest.approx(0.5 * total_j, rel=1e-3)


def test_idle_power_may_be_kept_elsewhere(tree, tmp_path):
    path = str(tmp_path / 'elsewhere/idle.json')
    assert main(['power', '--root', tree, '--idle', '0.1', '--idle-file', path]) == 0
    assert load_idle(path).basis == ('ina3221/POM_5V_IN',)


def test_idle_power_that_cannot_be_kept_is_not_measured(tree, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    path = str(tmp_path / 'file' / 'idle.json')
    assert main(['power', '--root', tree, '--idle', '0.1', '--idle-file', path]) == 1
    said = capsys.readouterr().err
    assert '{} cannot be written'.format(path) in said and 'measuring' not in said


def test_machine_without_a_meter_does_not_run_the_command(tmp_path, capsys):
    (tmp_path / 'bare').mkdir()
    command = writer(tmp_path / 'ran')
    assert main(['power', '--root', str(tmp_path / 'bare'), '--'] + command) != 0
    out, err = capsys.readouterr()
    assert out == '' and len(err.splitlines()) == 1 and 'INA226' in err
    assert not (tmp_path / 'ran').exists()


def test_meter_that_may_not_be_read_tells_the_cure_and_runs_nothing(tmp_path, capsys, monkeypatch):
    zone = rapl_zone(tmp_path / 'pc', 'intel-rapl:0', 'package-0', 0)
    forbid(monkeypatch, '/energy_uj')
    assert main(['power', '--root', str(tmp_path / 'pc'), '--'] + writer(tmp_path / 'ran')) != 0
    err = capsys.readouterr().err
    assert 'chmod a+r {}'.format(zone / 'energy_uj') in err and len(err.splitlines()) == 1
    assert not (tmp_path / 'ran').exists()


def test_meter_that_may_not_be_read_is_said_beside_one_that_may(tree, capsys, monkeypatch):
    rapl_zone(pathlib.Path(tree), 'intel-rapl:0', 'package-0', 0)
    forbid(monkeypatch, '/energy_uj')
    assert main(['power', '--root', tree, '--seconds', '0.1']) == 0
    assert 'not usable: rapl: permission' in capsys.readouterr().err


def test_total_that_is_not_known_is_said_and_no_joules_are(tmp_path, capsys):
    supply(tmp_path, 'BAT0', type='Battery', status='Charging', power_now=5000000)
    assert main(['power', '--root', str(tmp_path), '--seconds', '0.2']) == 1
    out, err = capsys.readouterr()
    assert 'BAT0 is charging' in err and ' J' not in out


def test_total_that_lacks_a_rail_is_said_with_the_cure(tmp_path, capsys, monkeypatch):
    for k in (0, 1):
        rapl_zone(tmp_path, 'intel-rapl:{}'.format(k), 'package-{}'.format(k), 0)
    forbid(monkeypatch, 'intel-rapl:1/energy_uj')
    assert main(['power', '--root', str(tmp_path), '--seconds', '0.2']) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert 'chmod a+r' in said and 'too short' not in said


@pytest.mark.parametrize('value', ['0', '-1', 'nan', 'inf', 'x'])
@pytest.mark.parametrize('option', ['--seconds', '--idle'])
def test_time_without_sense_is_refused(tree, option, value, capsys):
    with pytest.raises(SystemExit) as caught:
        main(['power', '--root', tree, option, value])
    assert caught.value.code == 2 and 'seconds above 0' in capsys.readouterr().err


def test_idle_and_a_command_exclude_one_another(tree, tmp_path, capsys):
    assert main(['power', '--root', tree, '--idle', '1', '--'] + writer(tmp_path / 'ran')) == 1
    assert 'exclude one another' in capsys.readouterr().err
    assert not (tmp_path / 'ran').exists()


def test_command_that_is_not_there_is_one_clear_error(tree, capsys):
    assert main(['power', '--root', tree, '--', '/no/such/command']) == 1
    assert '/no/such/command cannot be run' in capsys.readouterr().err


@pytest.fixture
def start(tree):
    """Return a function that starts the command in a session of its own."""
    processes = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, '-m', 'cs3d_ros.cli', 'power', '--root', tree] + list(words),
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # its command, too, which may outlive it
        except ProcessLookupError:
            pass
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_interrupt_ends_the_watts_with_their_sum(start):
    process = start()
    for _ in range(2):  # the head, a second
        process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == ''
    assert ' J, 4.200 W' in out.splitlines()[-1]


def test_interrupt_within_the_first_second_ends_with_its_sum(tree, monkeypatch, capsys):
    sleep = time.sleep

    def interrupted(seconds):
        sleep(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(time, 'sleep', interrupted)
    assert main(['power', '--root', tree]) == 0
    out, err = capsys.readouterr()
    assert ' J, 4.200 W' in out.splitlines()[-1] and err == ''


def test_interrupt_is_for_the_command_and_its_joules_are_told(start):
    process = start('--', 'sh', '-c', 'echo up; exec sleep 60')
    assert process.stdout.readline() == 'up\n'
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert '4.200 W on average by ina3221/POM_5V_IN' in err


def test_end_that_is_asked_of_it_is_passed_on_to_the_command(start):
    process = start(
        '--', 'sh', '-c', 'trap "echo told; exit 7" TERM; echo up; while :; do sleep 0.05; done'
    )
    assert process.stdout.readline() == 'up\n'
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (7, 'told\n')
    assert '4.200 W on average by ina3221/POM_5V_IN' in err
