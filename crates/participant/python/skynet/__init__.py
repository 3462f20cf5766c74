"""What a participant's author uses: work items in, answers out.

    import skynet

    @skynet.participant
    def sizer(item):
        item.fields.size = os.path.getsize(item.fields.file)

    if __name__ == "__main__":
        skynet.run()

An exception is a fault, after which the item is tried again, and so is sys.exit; raise skynet.Final
where that is of no use. The same file works in both modes of exo. Run by hand it takes an item on
standard input and writes the answer to standard output. See participant-protocol(7).
"""

from .faults import Cancelled, Fault, Final, Refused, Retry
from .item import Fields, Item, engine, forward
from .participant import Participant, participant, run

__version__ = "0.1.0"

__all__ = [
    "Cancelled",
    "Fault",
    "Fields",
    "Final",
    "Item",
    "Participant",
    "Refused",
    "Retry",
    "engine",
    "forward",
    "participant",
    "run",
]
