"""docs/jetson.md tells what the code predicts, and no number that nobody measured."""

import pathlib
import re

import pytest

from benchmarks import roofline
from cs3d_ros.inference.machines import MACHINES

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = (ROOT / 'docs' / 'jetson.md').read_text()


@pytest.mark.parametrize('table', [roofline.shipped_table, roofline.published_table])
def test_tables_are_those_that_the_benchmark_prints(table):
    lines = TEXT.splitlines()
    assert [line for line in table() if line not in lines] == []


@pytest.mark.parametrize('name', sorted(roofline.STATED_GMAC))
def test_image_networks_cost_what_their_authors_state(name):
    macs = sum(operator.macs for operator in roofline.IMAGE_NETWORKS[name].operators)
    assert macs / 1e9 == pytest.approx(roofline.STATED_GMAC[name], rel=0.01)


def test_ratios_that_the_text_draws_are_those_of_the_table():
    ratios = [float(row.split('|')[-2]) for row in roofline.published_table()[2:]]
    dense = [ratio for ratio, row in zip(ratios, roofline.PUBLISHED) if row[1] != 'mobilenet_v2']
    low, high = re.search(r'Dense networks take ([\d.]+) to ([\d.]+) times', TEXT).groups()
    assert (float(low), float(high)) == (min(dense), max(dense))
    nano, xavier = re.search(
        r'takes ([\d.]+) times that on a Nano.*?, ([\d.]+)\s', TEXT, re.S
    ).groups()
    found = [ratio for ratio, row in zip(ratios, roofline.PUBLISHED) if row[1] == 'mobilenet_v2']
    assert [float(nano), float(xavier)] == found


def test_ratios_here_are_those_of_their_table():
    section = TEXT.partition('as other work')[2].partition('No Jetson was measured')[0]
    rows = [line.split('|')[1:-1] for line in section.splitlines() if line.startswith('| C')]
    assert len(rows) == len(roofline.NETWORKS) * len(roofline.WIDTHS)
    ratios = []
    for _, _, _, predicted, measured, ratio in rows:
        quickest = float(measured.split('(')[0])
        ratios.append(float(ratio))
        assert quickest / float(predicted) == pytest.approx(
            ratios[-1], abs=0.06 + 0.02 * ratios[-1]
        )
    low, high = re.search(
        r'take ([\d.]+) to ([\d.]+)\s+times what is\s+predicted', section
    ).groups()
    assert (float(low), float(high)) == (min(ratios), max(ratios))


def test_every_machine_that_is_named_in_a_command_is_known():
    for names in re.findall(r'--roofline ((?:[a-z0-9-]+ ?)+)', TEXT):
        assert set(names.split()) <= set(MACHINES) | {'here'}


def test_it_says_that_nothing_has_run_on_a_jetson():
    assert 'Nothing of this has run on a Jetson yet' in TEXT
    assert 'No Jetson was measured here' in TEXT
