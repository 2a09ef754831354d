"""Studies: families of models, tuned and measured cell by cell, and the law fitted to them.

A study is a YAML file (``config``); its cells are independent of one another (``cells``), each is made
and measured in a folder of its own (``work``), here or on a Ray cluster (``engines``); what they found
is one labelled table (``table``) to which the law is fitted (``ropediag.analysis.law``).
"""
