"""What-if: replay a trace of jobs against a pool of machines under any policy, and see what it costs whom.

| module | subject |
|---|---|
| pool | sites with their machines, and the hourly carbon and prices of their grids |
| demand | a trace with what it does not say: deadlines, worth, data; made up by a seed |
| engine | the replay: events in time order, a policy that decides, machines that are never let twice |
| forecast | what may be known of the coming hours |
| market_rounds | the market as a policy |
| market_rules, bidding, market_leases, market_books | its rules, its members' bids, its leases, its figures |
| policies | all policies by name |
| measures | cost, carbon, waiting and welfare of one replay, by job and by member |

Not covered: what happens inside a job. A job is work on the reference machine; machines differ by a factor.
"""
