#!/usr/bin/env python3
"""fields.size = size of the file that fields.file names, in units of the configuration."""

import os

import skynet


@skynet.participant
class Sizer(skynet.Participant):
    def start(self, config):
        self.unit = config.unit or 1

    def work(self, item):
        file = item.fields.file
        if not file:
            raise skynet.Final("field file is missing")
        try:
            size = os.path.getsize(file)
        except FileNotFoundError:
            raise skynet.Final(f"{file}: no such file") from None
        # Any other exception: the item is tried again.
        item.fields.size = size // self.unit
        print(f"{file}: {size} bytes")


if __name__ == "__main__":
    skynet.run()
