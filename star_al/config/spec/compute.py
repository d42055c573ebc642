"""``compute``: where the model predicts: in this process, or on the workers of a cluster."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, field_validator

from star_al.config.spec.base import Positive, Spec


class LocalComputeSpec(Spec):
    """This process computes."""

    kind: Literal["local"] = Field(description="The process that runs the campaign computes.")


class RayComputeSpec(Spec):
    """Workers on a Ray cluster predict and train members of ensembles; the campaign's process does the rest."""

    kind: Literal["ray"] = Field(
        description=(
            "Workers on a [Ray](https://docs.ray.io) cluster predict, and train the members of an ensemble. Other "
            "training and the database stay in the process that runs the campaign. Needs `pip install 'star-al[ray]'`."
        )
    )
    address: str | None = Field(
        default=None,
        description=(
            "Host and port of the cluster's head. On another machine, the environment variable `RAY_ADDRESS` must name "
            "it, too. By default `star-al` starts workers on this machine, which no other "
            "machine can reach, and ends them with the run."
        ),
        examples=["10.0.0.5:6379"],
    )
    workers: Positive = Field(
        default=2, description="How many workers there are; each keeps the model in memory."
    )
    threads: Positive = Field(
        default=1,
        description=(
            "CPU cores of a worker. The last digits of a prediction depend on it, as on `OMP_NUM_THREADS` without a "
            "cluster."
        ),
    )
    gpus: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="GPUs of a worker; 0.5 lets two workers share one."
    )
    wait_seconds: Annotated[float, Field(ge=0)] = Field(
        default=300.0,
        description="How long a cluster that does not answer is waited for before the run stops.",
    )

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"[\w.-]+:\d{1,5}|\[[0-9A-Fa-f:]+\]:\d{1,5}", address):
            raise ValueError(f"{address!r} is not a host and a port, such as 10.0.0.5:6379")
        if address is not None and not 1 <= int(address.rpartition(":")[2]) <= 65_535:
            raise ValueError(f"{address!r} has no port from 1 to 65535")
        return address


ComputeSpec: TypeAlias = Annotated[LocalComputeSpec | RayComputeSpec, Field(discriminator="kind")]
