"""`python -m kotune` is the command `kotune`."""

from kotune.cli import main

if __name__ == "__main__":
    main()
