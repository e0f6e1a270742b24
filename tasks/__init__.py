"""One thin task per step; the work is done on the floors below."""
