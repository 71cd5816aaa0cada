# Jetson Orin, JetPack 6: Ubuntu 22.04, Python 3.10, Humble, CUDA and TensorRT 10 in the image.
#     docker build -t cs3d_ros:jetpack6 -f docker/jetpack6.Dockerfile .
FROM dustynv/ros:humble-desktop-l4t-r36.4.0

WORKDIR /ws/src/cs3d_ros
COPY requirements.txt ./
COPY scripts scripts
# No apt, no index of the image's own: as in jetpack4.Dockerfile. NumPy 1, for which the messages
# of the image may have been compiled.
RUN unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST \
    && python3 scripts/bootstrap.py print run run-numpy1 hdf5 build > /tmp/run.txt \
    && python3 -m pip install --no-cache-dir --ignore-installed -r /tmp/run.txt

COPY . .
RUN . /opt/ros/humble/install/setup.sh \
    && cd /ws \
    && colcon build --base-paths src src/cs3d_ros/interfaces

ENTRYPOINT ["/bin/bash", "-c", ". /ws/install/setup.bash && exec \"$@\"", "cs3d"]
CMD ["ros2", "launch", "cs3d_ros", "fer.launch.py"]
