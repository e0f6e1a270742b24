"""Ground floor: the domain's words. Imports neither Prefect nor torch."""

__version__ = "0.1.0"
