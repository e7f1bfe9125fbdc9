"""What energy and machines mean outside: grams, litres, and grams per functional unit.

    quantities    a figure with its interval, and how intervals travel
    emissions     windows x PUE x intensity of their hours
    embodied, water, sci      machines' making, litres, grams per functional unit
    comparison    less, more, or nobody can tell

Each file says what it does not cover.
"""
