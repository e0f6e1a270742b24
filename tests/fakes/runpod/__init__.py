"""A RunPod on loopback: REST v2 by the published contract, the legacy GraphQL calls, real pods."""

from fakes.runpod.contract import Contract, Violation
from fakes.runpod.mischief import Mischief
from fakes.runpod.server import FakeRunPod

__all__ = ["Contract", "FakeRunPod", "Mischief", "Violation"]
