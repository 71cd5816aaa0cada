"""What rendered people look like, and how they are drawn."""
