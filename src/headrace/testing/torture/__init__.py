"""The torture of a gateway: faults of a scripted upstream, what a reader gets for each, and a verdict.

    plan(seed) ──▶ case ──▶ asks the gateway ──▶ transcript ──▶ judge ──▶ verdict
                     │                                            ▲
                     └──▶ script of the fault ──▶ upstream        └── what should have been said

`cases.py` draws what is asked, `faults.py` is the table of faults and `scripts.py` what each of them sends,
`judging.py` gives the verdict: all of them are pure.
`reading.py` reads bytes from the gateway, `performing.py` opens the upstream and brings everything together.
May import floors 0 to 3 and its own room. `headrace torture` is in `headrace.cli.torture`.
"""
