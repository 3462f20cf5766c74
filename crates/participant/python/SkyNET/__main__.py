"""python3 -m SkyNET FILE: runs a participant that is a class ParticipantHandler."""

import argparse
import sys
from typing import NoReturn

import skynet
from RuoteAMQP.host import FINAL

from . import __doc__ as about
from .Exo import Exo, ParticipantConfigError
from .layers import SITE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(100, f"SkyNET: usage: {message}\n{self.format_usage()}")


def _fault(text: str) -> int:
    code = int(text)
    if not 1 <= code <= 899:
        raise ValueError
    return code


def main() -> None:
    parser = _Parser(
        prog="python3 -m SkyNET",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the code, or a configuration file that names it")
    parser.add_argument("--config", metavar="FILE", help="the participant's own configuration file")
    parser.add_argument("--site", metavar="DIR", default=SITE, help=f"the site's folder ({SITE})")
    parser.add_argument(
        "--fault", metavar="N", type=_fault, default=FINAL,
        help=f"the fault that an exception is; below 10 the item is tried again ({FINAL})",
    )
    parser.add_argument("--version", action="version", version=f"SkyNET {skynet.__version__}")
    args = parser.parse_args()
    is_code = args.file.endswith(".py")
    config = args.config if is_code else args.config or args.file
    try:
        exo = Exo(config, args.file if is_code else None, args.site, args.fault)
    except ParticipantConfigError as error:
        print(f"SkyNET: fatal: {error}", file=sys.stderr)
        sys.exit(100)
    exo.run()


if __name__ == "__main__":
    main()
