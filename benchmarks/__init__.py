"""Speed of the parts beside named peers in the same run; equal results are shown first."""
