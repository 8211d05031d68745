"""``python -m bpfstream.cli``: the command where its console script is not on the path."""

from bpfstream.cli import main

if __name__ == "__main__":
    main()
