"""`python -m finbert2.quickstart`, as `sh quickstart.sh` calls it."""

from finbert2.quickstart.run import main

if __name__ == "__main__":
    main()
