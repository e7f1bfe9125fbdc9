"""`python -m ayni` is the same as the command `ayni`."""

from ayni.cli.main import main

if __name__ == "__main__":
    main()
