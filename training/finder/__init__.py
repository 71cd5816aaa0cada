"""The network of the face finder: ``python -m training.finder DATA -o face_finder.onnx``."""
