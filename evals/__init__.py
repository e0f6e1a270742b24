"""What the measurements mean: scoring, statistics, verdicts. CPU only; no Prefect, no torch."""
