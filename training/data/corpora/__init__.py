"""Real corpora through the same door: licensed videos and event recordings into the data set."""
