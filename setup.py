from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension('cs3d_ros.events._kernels', ['cs3d_ros/events/_kernels.pyx']),
        Extension('cs3d_ros.simulator._kernels', ['cs3d_ros/simulator/_kernels.pyx']),
    ],
)
