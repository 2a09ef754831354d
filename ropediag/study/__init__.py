"""Studies: families of models, made and measured cell by cell, and the law fitted to them.

A study is a YAML file (``config``, its parts in ``sections``); its cells are independent of one another
(``cells``), each is planned from configurations alone (``plan``) and made and measured in a folder of its
own (``work``), here or on a Ray cluster (``engines``), at a price known before (``estimate``); the folder
holds no other cells (``claim``). What they found is one labelled table (``table``) to which the law is fitted
(``ropediag.analysis.law``); ``run`` does all of it.
"""
