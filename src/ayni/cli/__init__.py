"""The command `ayni`: translates arguments into calls, and results into tables or JSON.

One file for each noun; `main` puts them together and turns errors into messages and exit codes.
Nothing heavy is imported before a command needs it, so that `ayni --help` answers at once.

Not covered: any decision. What a command does is in `ayni.wiring` and below.
"""
