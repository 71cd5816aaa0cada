"""
What the networks are worth: ``python -m training.experiments``, each question a command.

``paper`` trains and measures all that docs/results.md says, ``cross`` trains on one set and tests
on another, ``folds`` tests every person of a small corpus once, ``ablate`` leaves one thing out at
a time, ``real`` lets the robot's chain watch videos of real people. Every run writes a JSON; the
document is put together from those, so that no figure in it was typed by hand.
"""
