"""Launches processes."""

import os
from typing import Any, Dict, Optional

import skynet

from .workitem import DictAttrProxy


def send(message: Dict[str, Any]) -> None:
    """Sends a message to the engine; it is safe in the queue when this returns."""
    skynet.forward(skynet.engine(), message)


class Launcher:
    """Has the engine launch processes. Only a participant that exo runs can do it."""

    def __init__(
        self,
        amqp_host: str = "localhost",
        amqp_user: str = "boss",
        amqp_pass: str = "boss",
        amqp_vhost: str = "boss",
        conn: Any = None,
    ) -> None:
        self.host = amqp_host
        self.vhost = amqp_vhost

    def launch(
        self,
        process: Any,
        fields: Optional[Dict[str, Any]] = None,
        variables: Optional[Dict[str, Any]] = None,
    ) -> None:
        """Launches the process of this definition, whose items begin with these fields.

        Raises skynet.Refused where it cannot be sent, and skynet.Final where no exo is there for it.
        """
        given = [v.as_dict() if isinstance(v, DictAttrProxy) else v for v in (fields, variables)]
        for name, value in zip(("fields", "variables"), given):
            if value and not isinstance(value, dict):
                raise TypeError(f"{name} should be type dict")
        # An engine takes no fields for none; a queue here takes nothing without them.
        message = {"definition": process, "fields": given[0] or {}, "variables": given[1] or None}
        try:
            send(message)
        except skynet.Final as error:
            if os.environ.get("SKYNET_PARTICIPANT"):
                raise
            why = "exo does not run this program: launch a process by the command skynet launch"
            raise skynet.Final(f"{why}, or in a participant") from error
