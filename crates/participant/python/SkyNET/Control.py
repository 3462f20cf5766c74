"""What a handler is told besides items."""

from configparser import ConfigParser
from typing import Any, Optional


class WorkItemCtrl:
    """A message: "start", "stop" and "die" for the participant, "cancel" for the item in hand."""

    def __init__(self, msg: str, config: Optional[ConfigParser] = None) -> None:
        self.message = msg
        #: With "start", all that is configured.
        self.config = config
        #: With "cancel", the item that is not wanted any more, its fei, and why: None for a plain
        #: cancel, "kill" or "timeout".
        self.workitem: Any = None
        self.fei: Any = None
        self.flavour: Optional[str] = None

    def start(self) -> bool:
        """Tells whether it is "start"."""
        return self.message == "start"

    def stop(self) -> bool:
        """Tells whether it is "stop"."""
        return self.message == "stop"

    def die(self) -> bool:
        """Tells whether it is "die"."""
        return self.message == "die"

    def __repr__(self) -> str:
        return f"ctrl: {self.message}"


class ParticipantCtrl(WorkItemCtrl):
    """The same, by the name that it should have had. One without a message is of no kind."""

    def __init__(self, msg: str = "", config: Optional[ConfigParser] = None) -> None:
        super().__init__(msg, config)
