"""
The chain behind ROS 2 topics: the only folder that imports rclpy and messages.

``player`` → ``preprocessing`` → ``inference``, and ``power`` beside them, each a lifecycle node in
a process of its own. ``bringup`` starts them where ``launch`` is not installed, ``demo`` shows
them at work. `cs3d_ros.nodes.parameters` imports no ROS.
"""
