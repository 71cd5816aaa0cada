"""Run every benchmark: ``make bench``."""

from benchmarks import (
    chain,
    decoding,
    face_finder,
    networks,
    rendering,
    roofline,
    ros_throughput,
    simulator,
)
from benchmarks.measure import machine

if __name__ == '__main__':
    print(machine())
    decoding.main()
    simulator.main()
    chain.main()
    rendering.main()
    face_finder.main()
    networks.main()
    roofline.main()
    ros_throughput.main()
