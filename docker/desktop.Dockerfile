# A desktop or server, x86_64 or arm64: Humble (Python 3.10) or Jazzy (Python 3.12).
#     docker build -t cs3d_ros:humble -f docker/desktop.Dockerfile --build-arg ROS_DISTRO=humble .
#     docker build -t cs3d_ros:jazzy -f docker/desktop.Dockerfile --build-arg ROS_DISTRO=jazzy .
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base
ARG ROS_DISTRO

RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ python3-dev python3-pip \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /ws/src/cs3d_ros
COPY requirements.txt ./
COPY scripts scripts
# NumPy 1, for which the messages of both distributions were compiled. The variable lets pip of
# Ubuntu 24.04 install beside apt, as a container has no other use for this Python.
RUN export PIP_BREAK_SYSTEM_PACKAGES=1 \
    && python3 scripts/bootstrap.py print run run-numpy1 hdf5 build > /tmp/run.txt \
    && python3 -m pip install --no-cache-dir --ignore-installed -r /tmp/run.txt

COPY . .
RUN . /opt/ros/${ROS_DISTRO}/setup.sh \
    && cd /ws \
    && colcon build --base-paths src src/cs3d_ros/interfaces

ENTRYPOINT ["/bin/bash", "-c", ". /ws/install/setup.bash && exec \"$@\"", "cs3d"]
CMD ["ros2", "launch", "cs3d_ros", "fer.launch.py"]
