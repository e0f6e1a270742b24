"""The seam to whoever rents out machines."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from pydantic import Field, SecretStr

from brightrun.errors import CapacityError, ProviderError
from brightrun.frozen import Frozen
from brightrun.jobs import Market

# starting and running may bill and may work; ended never works again but may still bill;
# unknown: the provider says something that we do not know, so it may do both.
PodState = Literal["starting", "running", "ended", "unknown"]
Stock = Literal["none", "low", "medium", "high"]


# What the name of every pod of ours begins with: by it alone the reaper and the bill know it.
OURS = "br-"
# ... and how it ends since ledgers are told apart: two may share an account.
OWNER = re.compile(r"-o([0-9a-f]{6})$")


def pod_name(job_id: str, attempt: int, nonce: str, owner: str) -> str:
    """br-JOB-ATTEMPT-NONCE-oOWNER; owner: `Ledger.owner`."""
    return f"{OURS}{job_id}-{attempt}-{nonce}-o{owner}"


def is_foreign(name: str, owner: str) -> bool:
    """Whether a pod with our prefix says that another ledger has rented it."""
    tag = OWNER.search(name)
    return tag is not None and tag[1] != owner


STOCK_ORDER: dict[Stock, int] = {"high": 0, "medium": 1, "low": 2, "none": 3}


class Offer(Frozen):
    """One GPU type in one place at one price, as the provider said at `as_of`.

    gpu: the provider's own id of it; device: our name (brightrun.gpus), "" when we do not know it.
    usd_per_hour is of one GPU. memory_gb None: not a GPU.
    """

    provider: str
    gpu: str
    device: str
    market: Market
    usd_per_hour: Decimal
    stock: Stock
    source: str
    as_of: datetime
    data_center: str = ""
    cloud: str = ""
    memory_gb: float | None = None
    max_count: int = 1
    cuda: tuple[str, ...] = Field((), description="Versions with free machines; (): not said")

    @property
    def place(self) -> str:
        """For people: "H100 80GB PCIe in US-KS-2 (secure, on_demand)"."""
        where = f" in {self.data_center}" if self.data_center else ""
        cloud = f"{self.cloud.lower()}, " if self.cloud else ""
        return f"{self.device or self.gpu}{where} ({cloud}{self.market})"


class LaunchRequest(Frozen):
    """What a pod needs to know: a unique name and its environment, and which offer to take.

    `secrets` join the environment on the way out and are printed nowhere.
    """

    name: str
    environment: dict[str, str]
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    offer: Offer | None = Field(None, description="None: a provider with one kind of pod")
    gpu_count: int = Field(1, ge=1)


class Pod(Frozen):
    """A pod as its provider sees it; usd_per_hour is of the whole pod, None when not said."""

    name: str
    provider_id: str
    state: PodState
    usd_per_hour: Decimal | None = None
    data_center: str = ""
    created_at: datetime | None = None
    note: str = Field("", description="The provider's own word for the state")


class Balance(Frozen):
    """Dollars left in the account, and what all its pods cost an hour now."""

    usd: Decimal
    spend_per_hour: Decimal


class Billed(Frozen):
    """What a provider bills for one pod in [start, end); name "": the bill does not say it.

    disk_usd is a part of usd.
    """

    pod_id: str
    name: str = ""
    start: datetime
    end: datetime
    usd: Decimal
    disk_usd: Decimal = Decimal(0)


class Manners(Frozen):
    """How a provider wants to be treated: how long its answers may be behind the truth."""

    look_every_s: float = Field(1.0, description="Between two questions about one pod")
    second_look_s: float = Field(2.0, description="Before a pod that is not seen counts as lost")
    gone_gap_s: float = Field(0.0, description="Gone = not seen twice, so far apart")
    boot_deadline_s: float = Field(600.0, description="To the first sign of life")
    lease_s: int | None = Field(None, description="None: as the settings say")
    far_away: bool = Field(False, description="Pods run elsewhere and cost real money")


class Refused(CapacityError):
    """A definite no: nothing was rented. Another offer may do.

    said: the provider's own words. broken: they may mean that the request itself, or the key, is at
    fault, which all offers would then say alike.
    """

    code = "refused"

    def __init__(
        self,
        message: str,
        *,
        said: str = "",
        broken: bool = False,
        cause: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(message, cause=cause, fix=fix)
        self.said, self.broken = said, broken


class Doubtful(ProviderError):
    """The provider did not say whether it rents the pod, and no such pod could be seen so far.

    It may appear and bill later: its name must not be used again, its books stay open until it
    is seen gone.
    """

    code = "doubtful"


class ComputeProvider(Protocol):
    """Names are unique per attempt and chosen by us, so that a doubtful launch can be looked up.

    Every method raises ProviderError when there is no usable answer: nothing is known then, and
    what was rented may bill.
    """

    manners: Manners

    def offers(self, gpu_count: int = 1) -> tuple[Offer, ...]:
        """What can be rented now, in no order; () when there is only one kind of pod."""

    def launch(self, request: LaunchRequest) -> Pod:
        """Start a pod.

        Refused, CapacityError, BudgetError, ConfigurationError: surely none. Doubtful: perhaps one.
        """

    def learn(self, name: str, pod_id: str) -> None:
        """The id of a pod that another process has rented: its lists may not show it (yet)."""

    def find(self, name: str) -> Pod | None:
        """The pod of that name, or None when there is none (any more)."""

    def list(self, prefix: str) -> list[Pod]:
        """Every pod whose name starts with `prefix`."""

    def terminate(self, name: str) -> None:
        """Ask for its end; harmless when it is already gone. See ending.make_gone for surely."""

    def balance(self) -> Balance | None:
        """None: there is no account."""

    def billing(self, since: datetime) -> tuple[Billed, ...]:
        """The provider's own bill from `since` (a UTC midnight) to now, by pod and period."""

    def data_center(self) -> str:
        """Where pods have to be, because their volume is there; "" = anywhere."""

    def volume_gb(self) -> float:
        """Size of that volume, which is billed by the month; 0: there is none."""

    def unready(self, request: LaunchRequest) -> tuple[str, ...]:
        """What stands in the way of this launch, found without renting; each with its fix."""
