"""`python -m convmat`: the command line."""

from __future__ import annotations

from convmat_command import main

if __name__ == "__main__":
    main()
