"""Make data, train networks and export bundles; needs Python 3.10 and the training extras."""
