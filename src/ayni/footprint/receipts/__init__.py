"""Signed records of what a step drew, and the checks that anybody can repeat from the files alone.

    receipt       what a receipt says; `site_conditions` become its `receipt_terms`
    verification  one run: receipt_checks, window_checks
    evidence, evidence_forms      many files of many runs: replay, side_by_side, nesting, known_keys

Each file says what it does not cover.
"""
