"""The market: what machines cost, what a job may spend, and the double-entry ledger that settles it.

| module | subject |
|---|---|
| offers | what a site offers, what that costs, what a job may spend |
| planning | when and at what cost the steps of a job would run, against its limits |
| double_entry | transactions that sum to zero, their hash chain, and checking both |
| store | the ledger's tables |
| ledger | credits granted, held in escrow, drawn, refunded and paid out |
| settlement | from signed receipts to movements of credits |

Not covered yet: the auction among several members. Here a job runs on its owner's own machines.
"""
