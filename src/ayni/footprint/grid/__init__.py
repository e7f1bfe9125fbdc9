"""The grid: what a kilowatt-hour weighs and costs, hour by hour, and when to run.

    carbon        annual grams of CO2e per kWh, by zone, with interval; `basis` says what they count
    intensity_series, climatology      hour by hour, and what an hour usually weighs
    importers     hourly files: electricity_maps_files, entsoe_files (generation_mix), neso_files, tables
    electricity_maps_api               the same over the network, only with your token
    intensity_chain                    what an hour weighs, from metered hour to world mean
    tariffs       hourly prices
    scheduling    when to run, and what waiting was really worth

Each file says what it does not cover.
"""
