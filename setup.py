"""Compiled kernels and ROS's places for files; everything else stands in setup.cfg."""

from glob import glob

from setuptools import Extension, setup

# No cythonize(): it prints, and colcon reads this script's output. setuptools calls Cython itself.
KERNELS = [
    'cs3d_ros.events._codecs',
    'cs3d_ros.events._filters',
    'cs3d_ros.events._frames',
    'cs3d_ros.events._kernels',
    'cs3d_ros.events._words',
    'cs3d_ros.events.recordings._aedat4',
    'cs3d_ros.events.recordings._ecf',
    'cs3d_ros.simulator._kernels',
]

setup(
    # Not in setup.cfg, from where it comes as an object, which colcon cannot read.
    python_requires='>=3.6',
    ext_modules=[
        Extension(
            name,
            [name.replace('.', '/') + '.pyx'],
            depends=sorted(glob('cs3d_ros/*/*.h') + glob('cs3d_ros/*/*.pxd')),
            # Uncontracted, so that all processors round alike.
            extra_compile_args=['-O3', '-ffp-contract=off'],
        )
        for name in KERNELS
    ],
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/cs3d_ros']),
        ('share/cs3d_ros', ['package.xml']),
        ('share/cs3d_ros/launch', sorted(glob('launch/*.launch.py'))),
        ('share/cs3d_ros/config', sorted(glob('config/*'))),
        # Where `ros2 run` looks. Not console scripts: pip would put a `power` into everyone's bin.
        ('lib/cs3d_ros', sorted(glob('scripts/nodes/*'))),
    ],
)
