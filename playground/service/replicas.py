"""Replicas on Ray Serve: a link (see `remote.py`) whose processes, routing, scaling and restarts are Ray's.

The one module that imports Ray; it is loaded only if PLAYGROUND_ENGINE is ray.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody

import ray
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from playground.errors import UserError, shown
from playground.models.specs import Catalogue
from playground.service.remote import Files, Prepared, RemoteOrder, Replica, Update
from playground.settings import ROOT, Settings

APP = "realign-playground"
"""The name of the application in Ray Serve: a page that starts takes the place of one that crashed."""
LANES = 8
"""Lanes a replica: with more, and more replicas allowed, another one is started."""
MOST_LANES = 96
"""Lanes that one replica takes. Those that wait do so in its engine, where people take turns; Serve's line has none."""
SHARED_BYTES = 256 << 20
"""Memory for what is passed around on a cluster that is started here: weights, a few megabytes each."""
STOP_SECONDS = REACH_SECONDS = 5.0


class ServedReplica(Replica):
    """A replica as Serve runs it. Orders are written in threads of Serve's, as many as it takes lanes."""

    def __init__(self, settings: Settings, catalogue: Catalogue):
        super().__init__(settings, catalogue, ray.get)

    def write(self, order: RemoteOrder) -> Iterator[Update]:  # Serve looks for a generator in the class itself
        yield from super().write(order)

    async def stop(self, id: str) -> None:  # no thread of Serve's may be needed to stop a lane
        super().stop(id)


class RayLink:
    """Orders to the replicas of a Serve application, records back."""

    lost = (RayActorError, RayServeException)

    def __init__(self, handle: DeploymentHandle, own: bool):
        """own: whether the cluster is this process's, and ends with it."""
        self._handle, self._own = handle, own

    def share(self, files: Files) -> Any:
        return ray.put(files)

    def check(self, order: RemoteOrder) -> Prepared | UserError:
        return self._handle.check.remote(order).result()

    def write(self, order: RemoteOrder) -> Iterator[Update]:
        return iter(self._handle.options(stream=True).write.remote(order))

    def stop(self, id: str) -> None:
        with suppress(TimeoutError):
            self._handle.broadcast("stop", id).results(timeout_s=STOP_SECONDS, return_exceptions=True)

    def close(self) -> None:
        if not self._own:
            serve.delete(APP)
        ray.shutdown()


def start(settings: Settings, catalogue: Catalogue) -> RayLink:
    """Start the replicas, on the cluster that RAY_ADDRESS names or on one of this machine, and wait until the first
    have their models. Raises UserError if there is no such cluster, or a replica cannot start."""
    least, most = settings.replicas
    address = os.environ.get("RAY_ADDRESS")
    _join(address, cpus=most * settings.replica_cpus)
    if least == most:
        count = {"num_replicas": least}
    else:
        scaling = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": LANES}
        count = {"autoscaling_config": scaling}
    deployment = serve.deployment(
        ServedReplica,
        name="replica",
        max_ongoing_requests=MOST_LANES,
        ray_actor_options={
            "num_cpus": settings.replica_cpus,
            "num_gpus": settings.replica_gpus,
            "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}},
        },
        **count,
    )
    sent = replace(settings, secret=None, owner_token=None, api_key=None)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        serve.start(proxy_location="Disabled")
        handle = serve.run(deployment.bind(sent, catalogue), name=APP, route_prefix=None)
    except RuntimeError as error:
        ray.shutdown()
        raise UserError(f"The replicas could not be started ({_first_line(error)}); Ray's logs say more.") from None
    return RayLink(handle, own=not address)


def _join(address: str | None, cpus: int) -> None:
    """Join the cluster at this address, or start one here with so many cores, as Ray counts them. Raises UserError."""
    quiet = {"configure_logging": False, "log_to_driver": False}
    try:
        if not address:
            own = {"num_cpus": max(cpus, os.cpu_count() or 1), "object_store_memory": SHARED_BYTES}
            ray.init("local", include_dashboard=False, **own, **quiet)
            return
        host, _, port = address.rpartition(":")
        if host:  # Ray itself would try for minutes
            socket.create_connection((host.rpartition("/")[2], int(port)), REACH_SECONDS).close()
        ray.init(address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        where = f"The cluster {shown(address)} in RAY_ADDRESS" if address else "Ray on this machine"
        raise UserError(
            f"{where} does not answer ({_first_line(error)}); start one with ray start --head, or unset RAY_ADDRESS."
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
