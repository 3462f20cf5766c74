"""Participants written for SkyNET, under exo: a class ParticipantHandler, and nothing to start it.

    python3 -m SkyNET handler.py

is a persistent participant, see participant-protocol(7). By hand it takes an item on standard input
and writes the answer to standard output.
"""

from RuoteAMQP.workitem import Workitem

from .Control import ParticipantCtrl, WorkItemCtrl
from .Exo import Exo

__all__ = ["Exo", "ParticipantCtrl", "WorkItemCtrl", "Workitem"]
