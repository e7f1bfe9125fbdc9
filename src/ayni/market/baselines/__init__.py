"""What the market is compared with: policies for the simulator, one a file, and auctions of one good.

| module | rule |
|---|---|
| strict_fcfs | first come, first served; nobody overtakes |
| easy_backfill | the same, and small jobs fill the holes |
| slurm_fair_share | who used little comes first, with backfilling |
| lowest_price | each job at the cheapest site that has room |
| drf | who has the smallest dominant share comes first |
| karma | credits for machines lent, spent on machines borrowed |
| alone | every member on its own machines |
| wait_awhile | every member on its own machines, at the greenest slots before the deadline |
| double_auction, mcafee, sbba | prices of one homogeneous good |
| slot_market | machine-hours traded round by round at such prices |
| clairvoyant | the bound of who knows the whole trace beforehand |

Not covered: learning schedulers, and policies that change how many machines a job has.
"""
