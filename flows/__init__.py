"""What runs, in which order: flows that read like a table of contents."""
