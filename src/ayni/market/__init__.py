"""The market: who runs where, when and for how much, and the double-entry ledger that settles it.

| module | subject |
|---|---|
| offers | what a site offers, what that costs, what a job may spend |
| clearing | a round: bids and offers in; who runs where, when and for how much out |
| critical_values | what winners pay |
| explanation | why a bid got what it got, and what would have won |
| fairness, karma | shares, envy and indices of a round; credits for lending |
| carbon_curve, bound | what less carbon costs; the most that a round can be worth |
| simulation, baselines | replays of a trace, and what the market is compared with |
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
| award, carbon_saving | what a cleared round awards, as leases; what that saves of carbon |
| round_store, lease_records, quarter_store | awards that are kept; what became of them; closed quarters |

Not covered: orders to sites. Who keeps the lease book passes them on (`lease_runner.SiteOrders`).
"""
