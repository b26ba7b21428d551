"""`python -m poolctl`, the same as `poolctl`."""

from poolctl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
