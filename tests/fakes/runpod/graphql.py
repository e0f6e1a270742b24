"""The legacy GraphQL API, as far as we call it, executed by graphql-core over a minimal schema.

RunPod publishes no schema; the names are those that other people's code sends (see docs/runpod.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fakes.runpod.account import Account, Problem
from graphql import GraphQLError, GraphQLSchema, build_schema, graphql_sync

QUERY = """
type Query { myself: User gpuTypes(input: GpuTypeFilter): [GpuType] }
input GpuTypeFilter { id: String }
type User { clientBalance: Float currentSpendPerHr: Float }
type GpuType { id: String lowestPrice(input: GpuLowestPriceInput): LowestPrice }
input GpuLowestPriceInput { gpuCount: Int dataCenterId: String }
type LowestPrice { minimumBidPrice: Float uninterruptablePrice: Float stockStatus: String }
type Pod { id: String! name: String costPerHr: Float desiredStatus: String }
"""
MUTATION = """
type Mutation { %s podTerminate(input: PodTerminateInput!): Boolean }
input PodTerminateInput { podId: String! }
"""
RENT = "podRentInterruptable(input: PodRentInterruptableInput!): Pod"
RENT_INPUT = """
input EnvironmentVariableInput { key: String! value: String! }
enum CloudTypeEnum { ALL SECURE COMMUNITY }
input PodRentInterruptableInput {
  name: String imageName: String! gpuTypeId: String! gpuCount: Int! bidPerGpu: Float!
  cloudType: CloudTypeEnum dataCenterId: String env: [EnvironmentVariableInput]
  dockerArgs: String containerDiskInGb: Int volumeInGb: Int ports: String
  networkVolumeId: String volumeMountPath: String containerRegistryAuthId: String
  allowedCudaVersions: [String]
}
"""
# RunPod's own code of an error that is not the schema's (seen in others' logs).
CODE = {"code": "RUNPOD"}


@cache
def schema(spot: bool) -> GraphQLSchema:
    """With or without the spot market."""
    return build_schema(QUERY + MUTATION % (RENT if spot else "") + (RENT_INPUT if spot else ""))


def execute(account: Account, body: dict[str, Any]) -> dict[str, Any]:
    """The answer's JSON: data, errors."""
    done = graphql_sync(
        schema(account.market.spot_offered),
        str(body.get("query", "")),
        root_value=Root(account),
        variable_values=body.get("variables") or {},
    )
    return dict(done.formatted)


class Root:
    """The resolvers; graphql-core calls methods by the field's name."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def myself(self, info: Any) -> dict[str, float]:
        now = self.account.clock.now()
        return {
            "clientBalance": self.account.bill.balance_micro(now) / 1_000_000,
            "currentSpendPerHr": self.account.bill.spend_per_hour(),
        }

    def gpuTypes(self, info: Any, input: dict[str, Any] | None = None) -> list[Any]:
        market, now = self.account.market, self.account.clock.now()

        def lowest(kind: Any) -> Any:
            def resolve(info: Any, input: dict[str, Any] | None = None) -> dict[str, Any]:
                offered = market.spot_offered and kind.spot
                return {
                    "minimumBidPrice": market.price(kind, "spot", now) if offered else None,
                    "uninterruptablePrice": market.price(kind, "secure", now),
                    "stockStatus": "High" if any(kind.stock.values()) else None,
                }

            return resolve

        return [{"id": kind.id, "lowestPrice": lowest(kind)} for kind in market.kinds]

    def podRentInterruptable(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            "name": input.get("name", ""),
            "image": input["imageName"],
            "gpu": {"id": input["gpuTypeId"], "count": input["gpuCount"]},
            "cloud": "COMMUNITY" if input.get("cloudType") == "COMMUNITY" else "SECURE",
            "dataCenterIds": [input["dataCenterId"]] if input.get("dataCenterId") else [],
            "env": {pair["key"]: pair["value"] for pair in input.get("env") or []},
            "disk": input.get("containerDiskInGb", 50),
        }
        if input.get("networkVolumeId"):
            mount = {"volumeId": input["networkVolumeId"], "path": input["volumeMountPath"]}
            wanted["mounts"] = {"network": [mount]}
        kind = self.account.market.kind(input["gpuTypeId"])
        least = self.account.market.price(kind, "spot", self.account.clock.now()) if kind else 0
        if input["bidPerGpu"] < least:
            raise GraphQLError(f"bid is not available below {least}", extensions=CODE)
        allowed = set(input.get("allowedCudaVersions") or kind.cuda) if kind else set()
        if kind and not allowed & set(kind.cuda):
            raise GraphQLError("There are no longer any instances available", extensions=CODE)
        try:
            pod = self.account.create(wanted, market="spot")
        except Problem as problem:
            raise GraphQLError(problem.body["detail"], extensions=CODE) from None
        return {"id": pod.id, "name": pod.name, "costPerHr": pod.usd_per_hour}

    def podTerminate(self, info: Any, input: dict[str, Any]) -> bool:
        self.account.delete(input["podId"])
        return True
