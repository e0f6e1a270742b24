"""What an account can do at the fake: create, look, delete; its market, its bill, its volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from fakes.runpod.bill import MICRO, Bill, Line
from fakes.runpod.machines import Machine, Machines
from fakes.runpod.market import Market
from fakes.runpod.mischief import Mischief

from brightrun.clock import Clock

NO_CAPACITY = "There are no longer any instances available with the requested specifications."
ACTIONS = {
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "TERMINATED": [],
}


class Problem(Exception):
    """An answer of failure, as problem+json."""

    def __init__(
        self, status: int, title: str, detail: str, errors: list[str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {"title": title, "status": status, "detail": detail}
        if errors:
            self.body["errors"] = errors


@dataclass
class Account:
    """lag_s: lists are so far behind (guessed; single pods are not). skew_s: RunPod's clock."""

    clock: Clock
    machines: Machines
    market: Market
    bill: Bill
    mischief: Mischief
    volumes: dict[str, str] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    volume_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    lag_s: float = 0.0
    skew_s: float = 0.0
    pods: dict[str, Machine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = count(1)

    def tick(self) -> None:
        """Let time do its work: processes end, an empty account is stopped."""
        now = self.clock.now()
        broke = self.bill.balance_micro(now) <= 0
        for pod in self.pods.values():
            if self.machines.status(pod) == "EXITED" and pod.ended:
                self._stop_billing(pod, pod.ended)
            if broke and not pod.removed and not pod.ended:
                self._end(pod, removed=not pod.on_volume)

    def create(self, wanted: dict[str, Any], market: str = "on_demand") -> Machine:
        """A new pod; Problem 400 when it cannot be placed, 402 without an hour's credit."""
        cloud = wanted.get("cloud", "SECURE")
        gpu, number = wanted["gpu"]["id"], int(wanted["gpu"].get("count", 1))
        self._mounts_fit(wanted)
        kind = self.market.kind(gpu)
        if kind is None:
            raise Problem(400, "Bad Request", f"unknown gpu {gpu}")
        now = self.clock.now()
        which = "spot" if market == "spot" else cloud.lower()
        price = self.market.price(kind, which, now) * number
        if self.bill.balance_micro(now) < price * MICRO:
            raise Problem(402, "Payment Required", "insufficient balance")
        place = self.market.take(gpu, wanted.get("dataCenterIds", []), number)
        if place is None:
            raise Problem(400, "Bad Request", NO_CAPACITY)
        pod = Machine(
            id=f"pod{next(self.numbers):06d}",
            name=wanted["name"],
            wanted=wanted,
            place=place,
            usd_per_hour=price,
            market=market,
            created=now,
            fault=self.mischief.strike("pod"),
        )
        self.pods[pod.id] = pod
        micro = round(price * MICRO)
        self.bill.lines[pod.id] = Line(pod.id, pod.name, micro, wanted.get("disk", 50), now)
        self.machines.status(pod)
        return pod

    def listed(self) -> list[Machine]:
        """What a list shows: late to show what is new, late to forget what is gone."""
        seen_at = self.clock.now() - timedelta(seconds=self.lag_s)
        return [
            pod
            for pod in self.pods.values()
            if pod.created <= seen_at and (pod.removed is None or pod.removed > seen_at)
        ]

    def pod(self, pod_id: str) -> Machine:
        found = self.pods.get(pod_id)
        if found is None or found.removed:
            raise Problem(404, "Not Found", "pod not found")
        return found

    def delete(self, pod_id: str) -> None:
        self._end(self.pod(pod_id), removed=True)

    def interrupt(self, name: str) -> None:
        """The host is taken away: SIGTERM, SIGKILL, and the pod is in no list any more."""
        for pod in self.pods.values():
            if pod.name == name and not pod.removed:
                self._end(pod, removed=True)

    def alive(self) -> list[str]:
        """Names of pods that still bill for their GPU."""
        return sorted(pod.name for pod in self.pods.values() if self._bills(pod))

    def facts(self, pod: Machine) -> dict[str, Any]:
        """Pod of the contract."""
        status = self.machines.status(pod)
        if pod.removed and self.lag_s:
            status = "RUNNING"  # what a late list says of it
        skew = timedelta(seconds=self.skew_s)
        started = None if pod.started is None else _iso(pod.started + skew)
        uptime = 0 if pod.started is None else int((self.clock.now() - pod.started).total_seconds())
        return {
            "id": pod.id,
            "name": pod.name,
            "status": status,
            "actions": ACTIONS.get(status, ["terminate"]),
            "image": pod.wanted["image"],
            "args": pod.wanted.get("args", ""),
            "disk": pod.wanted.get("disk", 50),
            "ports": pod.wanted.get("ports", []),
            "env": pod.wanted.get("env", {}),
            "registry": pod.wanted.get("registry"),
            "mounts": pod.wanted.get("mounts", {}),
            "gpu": {"id": pod.gpu, "count": pod.count},
            "cloud": pod.wanted.get("cloud", "SECURE"),
            "dataCenterId": pod.place,
            "cudaVersion": "12.8",
            "ssh": {"proxy": None, "direct": None},
            "template": None,
            "cost": 0.0 if status in ("EXITED", "TERMINATED") else pod.usd_per_hour,
            "locked": False,
            "globalNetworking": {"enabled": False},
            "runtime": {"uptime": uptime, "gpus": [{"util": 90}]} if status == "RUNNING" else None,
            "createdAt": _iso(pod.created + skew),
            "startedAt": started,
        }

    def volume(self, volume_id: str) -> dict[str, Any]:
        """NetworkVolume of the contract; a test may have put only id and place into `volumes`."""
        if volume_id not in self.volumes:
            raise Problem(404, "Not Found", "network volume not found")
        place = {"id": volume_id, "dataCenter": self.volumes[volume_id]}
        return {"name": volume_id, "size": 200, "type": "STANDARD", **place,
                **self.volume_facts.get(volume_id, {})}  # fmt: skip

    def make_volume(self, wanted: dict[str, Any]) -> dict[str, Any]:
        volume_id = f"vol{next(self.numbers):06d}"
        self.volumes[volume_id] = wanted["dataCenter"]
        self.volume_facts[volume_id] = {"name": wanted["name"], "size": wanted["size"]}
        return self.volume(volume_id)

    def change_volume(self, volume_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
        before = self.volume(volume_id)
        if wanted.get("size", before["size"]) < before["size"]:
            raise Problem(400, "Bad Request", "network volume size cannot be reduced")
        self.volume_facts[volume_id] = {**self.volume_facts.get(volume_id, {}), **wanted}
        return self.volume(volume_id)

    def set_template(self, wanted: dict[str, Any], known: str = "") -> dict[str, Any]:
        """Template of the contract: a new one, or the given fields of one that is there."""
        template_id = known or f"tpl{next(self.numbers):06d}"
        if known and known not in self.templates:
            raise Problem(404, "Not Found", "template not found")
        usual = {
            "id": template_id, "args": "", "disk": 50, "ports": [], "env": {}, "registry": None,
            "mounts": {}, "serverless": False, "public": False, "category": "NVIDIA",
            "startSsh": True, "startJupyter": True, "allowedCudaVersions": [],
        }  # fmt: skip
        self.templates[template_id] = {**self.templates.get(template_id, usual), **wanted}
        return self.templates[template_id]

    def _mounts_fit(self, wanted: dict[str, Any]) -> None:
        mounts = wanted.get("mounts", {})
        if "network" in mounts and "persistent" in mounts:
            raise Problem(400, "Bad Request", "mounts: persistent and network exclude each other")
        for mount in mounts.get("network", []):
            place = self.volumes.get(mount["volumeId"])
            if place is None:
                raise Problem(404, "Not Found", "network volume not found")
            if place not in (wanted.get("dataCenterIds") or [place]):
                raise Problem(400, "Bad Request", "network volume is in another data center")

    def _bills(self, pod: Machine) -> bool:
        self.machines.status(pod)
        return not pod.removed and not pod.ended

    def _end(self, pod: Machine, *, removed: bool) -> None:
        now = self.clock.now()
        if not pod.ended:
            pod.ended = now
            self.machines.stop(pod)
        if removed:
            pod.removed = now
            self.bill.lines[pod.id].removed = now
        self._stop_billing(pod, pod.ended)

    def _stop_billing(self, pod: Machine, at: Any) -> None:
        line = self.bill.lines[pod.id]
        if line.until is None:
            line.until = at
            self.market.give_back(pod.gpu, pod.place, pod.count)


def _iso(at: Any) -> str:
    return str(at.isoformat()).replace("+00:00", "Z")
