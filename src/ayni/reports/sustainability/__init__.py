"""The footprint of a whole home, in a form that can be filed: one JSON object and one HTML page.

    inputs           what the report is made from: receipts, imports, models, a period
    node_accounts    where the energy of each machine went while anything was metered
    not_covered      what the figures leave out, in sentences
    view             the object: totals, groups, tiers, checks, everything with its interval
    plots            bars with their intervals, by month and by name
    page             the page, from the object

Not covered: the report of one run (`ayni.reports.html_report`).
"""
