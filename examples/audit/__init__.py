"""The audit: agents read a Python source tree and write a report, whatever crashes meanwhile.

`python -m examples.audit [PATH]` takes stock of the tree, spreads its files over a pool of
analysts, compares with the previous audit in the same store and writes a report. The rooms, in
the order in which a file passes through them:

    inventory -> analysis -> summary -> history -> report, page, pictures      (pure)
    workflow, agents, desk                                                     (durable)
    worker -> events -> demo, display                                          (processes)
"""
