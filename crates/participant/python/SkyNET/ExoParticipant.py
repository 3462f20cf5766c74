"""A handler as a participant."""

from typing import Any, Callable, Optional

from RuoteAMQP.participant import Participant
from RuoteAMQP.workitem import Workitem

from .Control import WorkItemCtrl


class ExoParticipant(Participant):
    """Has a handler do the work. Methods that it lacks are not needed, but handle_wi is."""

    def __init__(self, begin: "Callable[[Any, Callable[[Workitem], None]], Any]") -> None:
        # Makes the handler, once it is known what is configured; returns it with that.
        self._begin = begin
        self.handler: Any = None

    def consume(self, workitem: Workitem) -> None:
        self.handler.handle_wi(workitem)

    def _cancel(self, workitem: Workitem, flavour: Optional[str]) -> None:
        ctrl = WorkItemCtrl("cancel")
        ctrl.workitem, ctrl.fei = workitem, workitem.fei
        # An engine has no word for a plain one.
        ctrl.flavour = None if flavour == "cancel" else flavour
        _tell(self.handler, "handle_wi_control", ctrl)

    def send_to_engine(self, witem: Workitem) -> None:
        """Sends an item of any process to the engine, which goes on with that."""
        self.reply_to_engine(witem)

    def _start(self, config: Any) -> None:
        handler, merged = self._begin(config, self.send_to_engine)
        _tell(handler, "handle_lifecycle_control", WorkItemCtrl("start", merged))
        # One that could not start has nothing to stop.
        self.handler = handler

    def _stop(self) -> None:
        _tell(self.handler, "handle_lifecycle_control", WorkItemCtrl("stop"))

    def _die(self) -> None:
        _tell(self.handler, "handle_lifecycle_control", WorkItemCtrl("die"))


def _tell(handler: Any, method: str, ctrl: WorkItemCtrl) -> None:
    told = getattr(handler, method, None)
    if told is not None:
        told(ctrl)
