"""Runs on the pod: load, train, measure, save. Started as a process: `python -m trainer`."""
