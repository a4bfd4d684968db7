"""./reproduce.sh site: builds the site into figures/site/."""

import sys
from pathlib import Path

from ..reproduce import SOURCES, Parser, folder, records_folder
from .build import build


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    parser = Parser(prog="./reproduce.sh site", description="Build the site from what is committed.",
                    allow_abbrev=False)
    parser.add_argument("--figures", type=Path, default=records_folder("laptop").parents[1], metavar="FOLDER",
                        help="of the tables and records to show (default: the committed ones)")
    options = parser.parse_args(arguments)
    try:
        build(options.figures, SOURCES, folder("site"))
    except (ValueError, OSError) as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
