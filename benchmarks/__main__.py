"""Run every benchmark: ``make bench``."""

from benchmarks import events
from benchmarks.measure import machine

if __name__ == '__main__':
    print(machine())
    events.main()
