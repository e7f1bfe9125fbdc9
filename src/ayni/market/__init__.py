"""The market: what machines cost, what a job may spend, and the double-entry ledger that settles it.

| module | subject |
|---|---|
| offers | what a site offers, what that costs, what a job may spend |
| planning | when and at what cost the steps of a job would run, against its limits |
| double_entry | transactions that sum to zero, their hash chain, and checking both |
| movements | what can be asked of the ledger: grants, holds, draws, releases, pay-outs |
| metering, guarantees, period | debit notes; bonds and claw-backs; decay and dividend of a quarter |
| ledger, store | books movements, many at once; the tables |
| ledger_check, statement | the invariants of a whole ledger; a member's lines |
| settlement, settlement_check | from signed receipts to movements of credits |
| lease_events, lease_state, lease_book | what happens to leases and what is then to be done, purely |
| lease_store, lease_runner | the stored events, and carrying out what the book decides |
| policy, reputation | what a pool declares; how often a site's work is checked |

Not covered yet: the auction among several members. Here a job runs on its owner's own machines.
"""
