"""`python -m star_al` is `star-al`."""

from star_al.cli.main import main

if __name__ == "__main__":
    main()
