"""A participant that does nothing, by the package `skynet`."""

import skynet


@skynet.participant
def noop(item):
    pass


if __name__ == "__main__":
    skynet.run()
