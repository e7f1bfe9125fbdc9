"""Receipts in the forms that others read.

    options          what a receipt does not know and an exporter may be told
    sci_report       Software Carbon Intensity, ISO/IEC 21031, as JSON
    boamps           Boavizta's data model for energy reports of AI tasks, as JSON
    codecarbon_csv   the columns of CodeCarbon's emissions.csv: kilowatt-hours and kilograms
    prometheus_text  the text that Prometheus scrapes: joules and grams
    model_card       co2_eq_emissions of a model card: grams

None of these forms has room for all that a receipt says, so each names the receipts that it was made from.

Nothing is imported here.
"""
