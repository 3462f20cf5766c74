#!/usr/bin/python3
"""A lock for processes: the first that asks goes on, others wait until it is given back.

:Parameters:
   action: get or release
   lock_project: what is locked
"""

import json
import os

from RuoteAMQP import Workitem


class Waiting(object):
    """Those who wait, a file each."""

    def __init__(self, base):
        self.base = base
        if not os.path.exists(base):
            os.mkdir(base)

    def names(self):
        return sorted(os.listdir(self.base), key=int)

    def add(self, text):
        names = self.names()
        number = int(names[-1]) + 1 if names else 1
        with open(os.path.join(self.base, str(number)), "w") as out:
            out.write(text)
        return len(names) == 0

    def drop(self):
        names = self.names()
        os.unlink(os.path.join(self.base, names[0]))
        if len(names) == 1:
            return None
        with open(os.path.join(self.base, names[1])) as kept:
            return kept.read()


class ParticipantHandler(object):
    """Participant class as defined by the SkyNET API"""

    def __init__(self):
        self.folder = None

    def send_to_engine(self, wid):
        """Replaced from outside."""
        raise AssertionError("nobody has replaced it")

    def handle_wi_control(self, ctrl):
        pass

    def handle_lifecycle_control(self, ctrl):
        if ctrl.message == "start":
            self.folder = ctrl.config.get("lock", "folder")

    def handle_wi(self, wid):
        wid.result = False
        if wid.fields.msg is None:
            wid.fields.msg = []
        for param in ["action", "lock_project"]:
            if not getattr(wid.params, param, None):
                wid.fields.__error__ = "Required parameter %s missing" % param
                wid.fields.msg.append(wid.fields.__error__)
                raise RuntimeError("Missing parameter")
        line = Waiting(os.path.join(self.folder, wid.params.lock_project))
        if wid.params.action == "get":
            if not line.add(json.dumps(wid.to_h(), sort_keys=True, indent=4)):
                wid.forget = True
        else:
            text = line.drop()
            if text is not None:
                following = Workitem(text)
                following.result = True
                self.send_to_engine(following)
        wid.result = True
