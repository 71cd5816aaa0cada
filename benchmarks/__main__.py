"""Run every benchmark: ``make bench``."""

from benchmarks import events, ros_throughput
from benchmarks.measure import machine

if __name__ == '__main__':
    print(machine())
    events.main()
    ros_throughput.main()
