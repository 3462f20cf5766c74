"""Participants written for RuoteAMQP, under exo: the same names, with no broker in this process.

Items come by participant-protocol(7), and what is sent to the engine goes the same way, to the queue
that exo's own answers go to: `ruote_workitems`, unless the site says otherwise. Hosts, users and passwords that are given are not used.
"""

from .launcher import Launcher
from .participant import Participant
from .workitem import DictAttrProxy, FlowExpressionId, Workitem

__all__ = ["DictAttrProxy", "FlowExpressionId", "Launcher", "Participant", "Workitem"]
