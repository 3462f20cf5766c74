"""python3 -m skynet [--version]: says what this package is."""

import sys

import skynet


def main(args: "list[str]") -> int:
    if args in (["--version"], ["-V"]):
        print(f"skynet {skynet.__version__}")
        return 0
    if args and args != ["--help"] and args != ["-h"]:
        print("skynet: usage: python3 -m skynet [--help | --version]", file=sys.stderr)
        return 100
    print("usage: python3 -m skynet [--help | --version]\n")
    print(skynet.__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
