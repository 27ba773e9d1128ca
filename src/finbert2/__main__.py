"""`python -m finbert2` is the command `finbert2`."""

from finbert2.cli import main

if __name__ == "__main__":
    main()
