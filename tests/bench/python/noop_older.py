"""A participant that does nothing, as it was written for `SkyNET`."""


class ParticipantHandler(object):
    def handle_wi_control(self, ctrl):
        pass

    def handle_lifecycle_control(self, ctrl):
        pass

    def handle_wi(self, wid):
        wid.result = True
