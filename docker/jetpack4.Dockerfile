# Jetson Nano, JetPack 4.6: Ubuntu 18.04, Python 3.6, a Humble that others have built for it.
#     docker build -t cs3d_ros:jetpack4 -f docker/jetpack4.Dockerfile .
# The runtime of NVIDIA puts the CUDA and TensorRT of the board's JetPack into the container.
FROM dustynv/ros:humble-ros-base-l4t-r32.7.1

WORKDIR /ws/src/cs3d_ros
COPY requirements.txt ./
COPY scripts scripts
# No apt: the key of the ROS archive in this image has expired. An index of packages that the image
# may name is passed by, since its host has gone. Without matplotlib, which has no wheel here, would
# compile for long and only draws the timelines of `cs3d run -o`.
RUN unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST \
    && python3 scripts/bootstrap.py print pip > /tmp/pip.txt \
    && python3 scripts/bootstrap.py print run build | grep -v ^matplotlib > /tmp/run.txt \
    && python3 -m pip install --no-cache-dir -r /tmp/pip.txt \
    && python3 -m pip install --no-cache-dir --ignore-installed -r /tmp/run.txt

COPY . .
# The compiler that the image's Humble was built by; one package at a time, for 4 GB of memory.
RUN export CC=gcc-8 CXX=g++-8 MAKEFLAGS=-j2 \
    && . /opt/ros/humble/install/setup.sh \
    && cd /ws \
    && colcon build --executor sequential --base-paths src src/cs3d_ros/interfaces

# Without it NumPy 1.19 ends with an illegal instruction on the Cortex-A57.
ENV OPENBLAS_CORETYPE=ARMV8
ENTRYPOINT ["/bin/bash", "-c", ". /ws/install/setup.bash && exec \"$@\"", "cs3d"]
CMD ["ros2", "launch", "cs3d_ros", "fer.launch.py"]
