"""What every service shares: contracts and machinery, no business.

`events` are the contracts, `kafka` and `mongo` the two stores, and each remaining module is one piece of machinery
named after what it does. Nothing here imports a service.
"""
