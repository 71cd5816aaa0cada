"""Faces that act, watched by the simulator: event recordings with every ground truth there is."""
