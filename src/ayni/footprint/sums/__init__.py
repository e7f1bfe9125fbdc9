"""What many receipts add up to, with what is unknown and what others measured.

    amounts, entries, totals      receipts as entries that add up
    kept_footprints               the receipts of a run, a measurement or an import
    third_party, codecarbon_files       figures of other tools, told apart

Each file says what it does not cover.
"""
