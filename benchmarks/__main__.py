"""Run every benchmark: ``make bench``."""

from benchmarks import chain, decoding, ros_throughput
from benchmarks.measure import machine

if __name__ == '__main__':
    print(machine())
    decoding.main()
    chain.main()
    ros_throughput.main()
