"""What rendered people do: action units of FACS over time."""
